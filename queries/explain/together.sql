-- says: What all flows of an exchange come to together.
-- reads: exchange, exchange_flow
-- params: flow_id
-- returns: exchange_id, exchange_verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, flows, sources
-- one row per: exchange_id
SELECT x.exchange_id, x.exchange_verdict, x.reason, x.rule_id, x.rule_status, x.transport_required, x.transport_status,
  x.transport, x.outcome, x.flows, x.sources
FROM exchange x JOIN exchange_flow e ON e.exchange_id = x.exchange_id
WHERE e.flow_id = $flow_id
ORDER BY ALL
