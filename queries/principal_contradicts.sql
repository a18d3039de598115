-- code: VZ2001
-- severity: high
-- says: Exchanges whose certificate is of a service account that nobody at the initiator's address had then.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport, transport_status, outcome
-- cannot tell: a stolen certificate from an address that was given on while nobody watched; addresses of nobody contradict nothing.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
FROM edge
WHERE reason = 'principal_contradicts'
ORDER BY ALL
