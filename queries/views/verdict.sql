-- says: The one verdict of every flow, with the three answers behind it.
-- reads: classified
-- returns: flow_id, verdict, reason, rule_id, rule_status, transport_required, transport_status
-- one row per: flow_id
SELECT c.segment || ':' || CAST(c.record AS VARCHAR) AS flow_id, c.verdict, c.reason, c.rule_id, c.rule_status,
  c.transport_required, c.transport_status
FROM classified c
