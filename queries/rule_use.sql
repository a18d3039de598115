-- says: For each rule: how often it was seen, first and last, and how that was protected; rules never seen are listed too.
-- reads: rule, reported
-- returns: rule_id, kind, revoked_by, says, exchanges, flows, met, met_inferred, unverified, violated, first_seen, last_seen
-- one row per: rule_id
-- cannot tell: whether a rule not seen could have been seen from where was recorded.
SELECT u.rule_id, u.kind, u.revoked_by, u.says, count(x.exchange_id) AS exchanges,
  CAST(coalesce(sum(x.flows), 0) AS BIGINT) AS flows,
  count(CASE WHEN x.transport_status = 'met' THEN 1 END) AS met,
  count(CASE WHEN x.transport_status = 'met_inferred' THEN 1 END) AS met_inferred,
  count(CASE WHEN x.transport_status = 'unverified' THEN 1 END) AS unverified,
  count(CASE WHEN x.transport_status = 'violated' THEN 1 END) AS violated,
  min(x.first_seen) AS first_seen, max(x.last_seen) AS last_seen
FROM rule u
LEFT JOIN reported x ON x.rule_id = u.rule_id
GROUP BY u.rule_id, u.kind, u.revoked_by, u.says
ORDER BY u.rule_id
