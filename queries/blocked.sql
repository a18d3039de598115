-- says: Exchanges that a policy denied, whatever the document says of them.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, outcome, exchanges, first_seen, last_seen, flow_ids
-- one row per: initiator, responder, port, protocol, verdict, reason, rule_id, outcome
-- `flow_ids` names some of them, at most twenty.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, outcome, CAST(sum(exchanges) AS BIGINT) AS exchanges,
  min(first_seen) AS first_seen, max(last_seen) AS last_seen, min(flow_ids) AS flow_ids
FROM edge
WHERE outcome IN ('blocked', 'blocked_l7')
GROUP BY initiator, responder, port, protocol, verdict, reason, rule_id, outcome
ORDER BY ALL
