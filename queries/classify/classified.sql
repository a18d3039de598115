-- says: Every flow's resolved columns and its one verdict.
-- reads: identified, judgement, set_display
-- returns: segment, record, first_seen, turned, initiator_kind, initiator_namespace, initiator_pod, initiator_workload, initiator_workload_kind, initiator_service_account, initiator_labels, initiator_node, initiator_in_mesh, initiator_component, initiator_identity_basis, initiator_candidates, responder_kind, responder_namespace, responder_pod, responder_workload, responder_workload_kind, responder_service_account, responder_labels, responder_node, responder_in_mesh, responder_component, responder_identity_basis, responder_candidates, responder_service, target_port, transport, transport_basis, transport_grade, evidence_origin, outcome, verdict, reason, rule_id, rule_status, transport_required, transport_status
-- one row per: segment, record
-- A principal tells an account: whose pods stand for it is shown, and not which of them it was.
WITH reasoned AS (
  SELECT i.*,
    CASE
      WHEN i.off_wire IS NOT NULL THEN i.off_wire
      WHEN i.tunnel THEN 'tunnel_unreadable'
      WHEN i.initiator_identity_basis = 'no_time' OR i.responder_identity_basis = 'no_time' THEN 'no_time'
      WHEN i.initiator_contradicted OR i.responder_contradicted THEN 'principal_contradicts'
      WHEN i.initiator_set = 'unknown' AND i.responder_set = 'unknown' THEN 'no_identity'
      WHEN i.responder_set = 'unknown' THEN 'responder_unknown'
      WHEN NOT i.firm THEN 'direction_unknown'
      WHEN i.combination IS NULL THEN 'port_not_recorded'
    END AS undecidable
  FROM identified i
)
SELECT r.segment, r.record, r.first_seen, r.turned,
  CASE WHEN coalesce(r.undecidable, j.reason) = 'initiator_ambiguous'
         OR (r.undecidable = 'principal_contradicts' AND r.initiator_contradicted) THEN 'ambiguous' ELSE a.kind END AS initiator_kind,
  a.namespace AS initiator_namespace,
  CASE WHEN r.initiator_identity_basis <> 'principal' THEN a.pod END AS initiator_pod, a.workload AS initiator_workload,
  a.workload_kind AS initiator_workload_kind, a.service_account AS initiator_service_account,
  a.labels AS initiator_labels,
  CASE WHEN r.initiator_identity_basis <> 'principal' THEN a.node END AS initiator_node, a.in_mesh AS initiator_in_mesh,
  a.component AS initiator_component, r.initiator_identity_basis, a.candidates AS initiator_candidates,
  CASE WHEN j.reason = 'responder_ambiguous' OR (r.undecidable = 'principal_contradicts' AND r.responder_contradicted)
         THEN 'ambiguous' ELSE b.kind END AS responder_kind,
  b.namespace AS responder_namespace,
  CASE WHEN r.responder_identity_basis <> 'principal' THEN b.pod END AS responder_pod, b.workload AS responder_workload,
  b.workload_kind AS responder_workload_kind, b.service_account AS responder_service_account,
  b.labels AS responder_labels,
  CASE WHEN r.responder_identity_basis <> 'principal' THEN b.node END AS responder_node, b.in_mesh AS responder_in_mesh,
  b.component AS responder_component, r.responder_identity_basis, b.candidates AS responder_candidates,
  r.responder_service, r.target_port,
  coalesce(j.transport, CASE WHEN r.seen = 'mtls' AND NOT r.trusted THEN 'tls' ELSE r.seen END) AS transport,
  coalesce(j.transport_basis, CASE WHEN r.seen = 'mtls' AND NOT r.trusted THEN 'foreign_trust_domain'
                                   WHEN r.seen_basis = 'istio_alpn' THEN 'responder_not_in_mesh'
                                   ELSE r.seen_basis END) AS transport_basis,
  CASE WHEN j.combination IS NOT NULL THEN j.transport_grade WHEN r.seen <> 'unknown' THEN 'proven' END AS transport_grade,
  r.evidence_origin, r.outcome,
  CASE WHEN r.undecidable IN ('loopback', 'pod_internal') THEN 'out_of_scope'
       WHEN r.undecidable IS NOT NULL THEN 'unknown' ELSE j.verdict END AS verdict,
  coalesce(r.undecidable, j.reason) AS reason,
  CASE WHEN r.undecidable IS NULL THEN j.rule_id END AS rule_id,
  CASE WHEN r.undecidable IN ('loopback', 'pod_internal') THEN 'unmodelled'
       WHEN r.undecidable IS NOT NULL THEN 'undecided' ELSE j.rule_status END AS rule_status,
  CASE WHEN r.undecidable IN ('loopback', 'pod_internal') THEN NULL
       WHEN r.undecidable IS NOT NULL THEN 'unknown' ELSE j.transport_required END AS transport_required,
  CASE WHEN r.undecidable IN ('loopback', 'pod_internal') THEN NULL
       WHEN r.undecidable IS NOT NULL THEN 'requirement_unknown' ELSE j.transport_status END AS transport_status
FROM reasoned r
JOIN set_display a ON a.set_id = r.initiator_set
JOIN set_display b ON b.set_id = r.responder_set
LEFT JOIN judgement j ON j.combination = r.combination
