-- code: VZ2002
-- severity: low
-- says: Exchanges whose record names a pod that did not hold the address then, while another is known to have.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required, told_by, contradicting_flow
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport, transport_status, outcome, contradicting_flow
-- cannot tell: which of the two is right: a record of another cluster, a clock that is wrong and a snapshot that is wrong look the same. Pods of one workload are not told apart; addresses of nodes, Services and nobody contradict nothing, nor do holders whom no snapshot vouches for then.
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, rule_status, transport, transport_status, outcome,
  exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, initiator_kind, initiator_namespace,
  initiator_workload, responder_kind, responder_namespace, responder_workload, cluster, transport_required,
  'name' AS told_by, contradicting_name AS contradicting_flow
FROM edge
WHERE contradicting_name IS NOT NULL
ORDER BY ALL
