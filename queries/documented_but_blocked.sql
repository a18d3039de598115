-- code: VZ1005
-- severity: low
-- says: Exchanges that a rule allows and that a policy denied.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport, transport_status, outcome
-- cannot tell: denials that no log recorded.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
FROM edge
WHERE outcome IN ('blocked', 'blocked_l7') AND rule_status IN ('documented', 'infrastructure', 'amended', 'accepted')
ORDER BY ALL
