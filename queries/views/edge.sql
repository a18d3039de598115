-- says: Exchanges grouped by who, to whom, on which port and with what result: one line of a report.
-- reads: reported
-- returns: cluster, initiator, responder, initiator_kind, initiator_namespace, initiator_workload, responder_kind, responder_namespace, responder_workload, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, exchanges, flows, bytes, first_seen, last_seen, sources, flow_ids, violating, contradicting_name, contradicting_principal
-- one row per: cluster, initiator, responder, initiator_kind, initiator_namespace, responder_kind, responder_namespace, port, protocol, verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, contradicting_name, contradicting_principal
-- `flow_ids` holds the first exchanges' ids, at most twenty. `violating` counts the exchanges in which some source tells of a violation.
-- Exchanges whose names or principals contradict the addresses are lines of their own; of the first, which row does.
WITH named AS (
  SELECT x.*,
    CASE WHEN x.initiator_workload IS NOT NULL THEN coalesce(x.initiator_namespace || '/', '') || x.initiator_workload
         WHEN x.initiator_kind IN ('node', 'api_server') THEN replace(x.initiator_kind, '_', ' ')
         ELSE x.initiator_kind || coalesce(' ' || x.initiator_ip, '') END AS initiator,
    CASE WHEN x.responder_workload IS NOT NULL THEN coalesce(x.responder_namespace || '/', '') || x.responder_workload
         WHEN x.responder_kind IN ('node', 'api_server') THEN replace(x.responder_kind, '_', ' ')
         ELSE x.responder_kind || coalesce(' ' || x.responder_ip, '') END AS responder
  FROM reported x
), ranked AS (
  SELECT n.*, row_number() OVER (
    PARTITION BY n.cluster, n.initiator, n.responder, n.initiator_kind, n.initiator_namespace, n.initiator_workload,
      n.responder_kind, n.responder_namespace, n.responder_workload, n.target_port, n.protocol, n.exchange_verdict,
      n.reason, n.rule_id, n.rule_status, n.transport_required, n.transport_status, n.transport, n.outcome,
      n.contradicting_name IS NULL, n.contradicting_principal IS NULL
    ORDER BY n.first_seen NULLS LAST, n.exchange_id) AS place
  FROM named n
)
SELECT r.cluster, r.initiator, r.responder, r.initiator_kind, r.initiator_namespace, r.initiator_workload,
  r.responder_kind, r.responder_namespace, r.responder_workload, r.target_port AS port, r.protocol,
  r.exchange_verdict AS verdict, r.reason, r.rule_id, r.rule_status, r.transport_required, r.transport_status,
  r.transport, r.outcome, count(*) AS exchanges, CAST(sum(r.flows) AS BIGINT) AS flows,
  CAST(sum(r.bytes) AS BIGINT) AS bytes, min(r.first_seen) AS first_seen, max(r.last_seen) AS last_seen,
  substr(max(CASE WHEN r.sources LIKE '%calico%' THEN ',calico' ELSE '' END)
    || max(CASE WHEN r.sources LIKE '%envoy%' THEN ',envoy' ELSE '' END)
    || max(CASE WHEN r.sources LIKE '%hubble%' THEN ',hubble' ELSE '' END)
    || max(CASE WHEN r.sources LIKE '%pcap%' THEN ',pcap' ELSE '' END)
    || max(CASE WHEN r.sources LIKE '%zeek%' THEN ',zeek' ELSE '' END)
    || max(CASE WHEN r.sources LIKE '%ztunnel%' THEN ',ztunnel' ELSE '' END), 2) AS sources,
  '["' || listagg(CASE WHEN r.place <= 20 THEN r.exchange_id END, '","' ORDER BY r.place) || '"]' AS flow_ids,
  count(CASE WHEN r.violations > 0 THEN 1 END) AS violating,
  max(CASE WHEN r.place = 1 THEN r.contradicting_name END) AS contradicting_name,
  max(CASE WHEN r.place = 1 THEN r.contradicting_principal END) AS contradicting_principal
FROM ranked r
GROUP BY r.cluster, r.initiator, r.responder, r.initiator_kind, r.initiator_namespace, r.initiator_workload,
  r.responder_kind, r.responder_namespace, r.responder_workload, r.target_port, r.protocol, r.exchange_verdict, r.reason,
  r.rule_id, r.rule_status, r.transport_required, r.transport_status, r.transport, r.outcome,
  r.contradicting_name IS NULL, r.contradicting_principal IS NULL
