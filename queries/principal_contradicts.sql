-- code: VZ2001
-- severity: high
-- says: Exchanges whose certificate is of a service account that nobody at that end's address had then.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required, told_by, contradicting_flow
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport, transport_status, outcome, contradicting_flow
-- cannot tell: a stolen certificate from one of a client or server whose TLS a pod passes on that is no gateway of the mesh. Addresses of nodes, gateways and nobody contradict nothing, nor do holders whom no snapshot vouches for then.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required,
  'principal' AS told_by, contradicting_principal AS contradicting_flow
FROM edge
WHERE contradicting_principal IS NOT NULL
ORDER BY ALL
