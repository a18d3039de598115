-- says: The exchanges a report was asked for; all of them when nothing was asked.
-- reads: exchange, asked
-- returns: exchange_id, exchange_verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, cluster, protocol, initiator_kind, initiator_namespace, initiator_workload, initiator_component, initiator_ip, responder_kind, responder_namespace, responder_workload, responder_component, responder_ip, target_port, first_seen, last_seen, flows, connections, bytes, violations, contradicting_name, contradicting_principal, sources, flow_ids
-- one row per: exchange_id
-- cannot tell: where an exchange without a time, or an end without one holder, belongs; asked for a time or a name, such are left out.
-- `since` is inclusive, `until` is not; what overlaps the span is in it.
SELECT x.exchange_id, x.exchange_verdict, x.reason, x.rule_id, x.rule_status, x.transport_required, x.transport_status,
  x.transport, x.outcome, x.cluster, x.protocol, x.initiator_kind, x.initiator_namespace, x.initiator_workload,
  x.initiator_component, x.initiator_ip, x.responder_kind, x.responder_namespace, x.responder_workload,
  x.responder_component, x.responder_ip, x.target_port, x.first_seen, x.last_seen, x.flows, x.connections, x.bytes,
  x.violations, x.contradicting_name, x.contradicting_principal, x.sources, x.flow_ids
FROM exchange x CROSS JOIN asked a
WHERE (a.since IS NULL OR x.last_seen >= a.since)
  AND (a.until IS NULL OR x.first_seen < a.until)
  AND (a.namespace IS NULL OR a.namespace = x.initiator_namespace OR a.namespace = x.responder_namespace)
  AND (a.workload IS NULL OR a.workload = x.initiator_workload OR a.workload = x.responder_workload)
  AND (a.port IS NULL OR a.port = x.target_port)
  AND (a.verdict IS NULL OR a.verdict = x.exchange_verdict)
