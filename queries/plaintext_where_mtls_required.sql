-- code: VZ1001
-- severity: critical
-- says: Documented exchanges without mTLS where it was required: in clear, or passed on by the mesh as they came.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport, transport_status, outcome
-- cannot tell: what the mesh passed on as it came may be encrypted by the application; its transport is unknown then. Where nobody says even that, an exchange is left out.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required
FROM edge
WHERE verdict = 'plaintext'
ORDER BY ALL
