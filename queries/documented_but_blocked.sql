-- code: VZ1005
-- severity: low
-- says: Documented exchanges that a policy denied.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload
-- one row per: initiator, responder, port, protocol, reason, rule_id, transport, transport_status, outcome
-- cannot tell: denials that no log recorded.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload
FROM edge
WHERE outcome IN ('blocked', 'blocked_l7') AND verdict IN ('expected', 'plaintext')
ORDER BY ALL
