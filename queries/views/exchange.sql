-- says: Conversations: rows of several sources that share the wire 5-tuple and overlap in time are one.
-- reads: flow, verdict
-- returns: exchange_id, exchange_verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, cluster, protocol, initiator_kind, initiator_namespace, initiator_workload, initiator_component, initiator_ip, responder_kind, responder_namespace, responder_workload, responder_component, responder_ip, target_port, first_seen, last_seen, flows, connections, bytes, sources, flow_ids
-- one row per: exchange_id
-- cannot tell: rows without both ports (aggregated logs) are an exchange of their own.
-- A row without the whole 5-tuple or without a time is joined with nothing; evidence moves along that key only.
WITH row_key AS (
  SELECT f.flow_id, f.first_seen,
    -- Logs are coarser than packets: Envoy cuts begin and duration to milliseconds, Calico to seconds.
    f.last_seen + CASE f.source WHEN 'envoy' THEN INTERVAL '2' MILLISECOND WHEN 'calico' THEN INTERVAL '1' SECOND
                                ELSE INTERVAL '0' SECOND END AS until,
    CASE WHEN f.first_seen IS NULL OR f.protocol IS NULL OR f.initiator_ip IS NULL OR f.initiator_port IS NULL
           OR f.responder_ip IS NULL OR f.responder_port IS NULL THEN f.flow_id
         ELSE f.cluster || ' ' || f.protocol || ' '
           || least(f.initiator_ip || ' ' || CAST(f.initiator_port AS VARCHAR),
                    f.responder_ip || ' ' || CAST(f.responder_port AS VARCHAR)) || ' '
           || greatest(f.initiator_ip || ' ' || CAST(f.initiator_port AS VARCHAR),
                       f.responder_ip || ' ' || CAST(f.responder_port AS VARCHAR)) END AS tuple
  FROM flow f
), begun AS (
  SELECT k.flow_id, k.tuple, k.first_seen,
    CASE WHEN k.first_seen <= max(k.until) OVER (PARTITION BY k.tuple ORDER BY k.first_seen, k.flow_id
                                                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
         THEN 0 ELSE 1 END AS begins
  FROM row_key k
), counted AS (
  SELECT b.flow_id, b.tuple,
    sum(b.begins) OVER (PARTITION BY b.tuple ORDER BY b.first_seen, b.flow_id) AS nth
  FROM begun b
), member AS (
  SELECT c.tuple, c.nth, f.flow_id, f.source, f.first_seen, f.last_seen, f.cluster, f.protocol, f.action, f.outcome,
    f.initiator_kind, f.initiator_namespace, f.initiator_workload, f.initiator_component, f.initiator_ip,
    f.responder_kind, f.responder_namespace, f.responder_workload, f.responder_component, f.responder_ip,
    f.target_port, f.transport, coalesce(f.bytes_sent, 0) + coalesce(f.bytes_received, 0) AS bytes, f.connections,
    v.verdict, v.reason, v.rule_id, v.rule_status, v.transport_required, v.transport_status,
    row_number() OVER (PARTITION BY c.tuple, c.nth
      ORDER BY CASE v.verdict WHEN 'unexpected' THEN 0 WHEN 'plaintext' THEN 1 WHEN 'expected' THEN 2
                              WHEN 'out_of_scope' THEN 3 ELSE 4 END,
        CASE v.transport_status WHEN 'violated' THEN 0 WHEN 'not_mutual' THEN 1 WHEN 'met' THEN 2
                                WHEN 'met_inferred' THEN 3 ELSE 4 END,
        f.flow_id) AS place
  FROM counted c
  JOIN flow f ON f.flow_id = c.flow_id
  JOIN verdict v ON v.flow_id = c.flow_id
), told AS (
  SELECT m.tuple, m.nth, min(m.flow_id) AS exchange_id, min(m.first_seen) AS first_seen,
    max(m.last_seen) AS last_seen, count(*) AS flows, max(coalesce(m.connections, 1)) AS connections,
    max(m.bytes) AS bytes,
    max(CASE WHEN m.source = 'pcap' THEN 1 ELSE 0 END) AS from_pcap,
    max(CASE WHEN m.source = 'calico' THEN 1 ELSE 0 END) AS from_calico,
    max(CASE WHEN m.source = 'envoy' THEN 1 ELSE 0 END) AS from_envoy,
    max(CASE WHEN m.transport_status = 'violated' THEN 1 ELSE 0 END) AS violated,
    max(CASE WHEN m.transport_status = 'not_mutual' THEN 1 ELSE 0 END) AS not_mutual,
    max(CASE WHEN m.transport_status IN ('met', 'met_inferred') THEN 1 ELSE 0 END) AS met,
    max(CASE WHEN m.rule_status IN ('documented', 'infrastructure', 'amended', 'accepted') THEN 1 ELSE 0 END)
      AS allowed,
    max(CASE WHEN m.rule_status = 'none' THEN 1 ELSE 0 END) AS not_allowed,
    min(CASE m.outcome WHEN 'blocked' THEN 0 WHEN 'blocked_l7' THEN 1 WHEN 'served' THEN 2 WHEN 'refused' THEN 3
                       WHEN 'reached' THEN 4 WHEN 'attempted' THEN 5 ELSE 6 END) AS outcome_place,
    '["' || listagg(CASE WHEN m.place <= 20 THEN m.flow_id END, '","' ORDER BY m.flow_id) || '"]' AS flow_ids
  FROM member m
  GROUP BY m.tuple, m.nth
), weighed AS (
  SELECT t.*, t.violated + t.met + t.not_mutual > 1 OR t.allowed + t.not_allowed > 1 AS disputed FROM told t
)
SELECT w.exchange_id,
  CASE WHEN w.disputed THEN 'unknown' ELSE m.verdict END AS exchange_verdict,
  CASE WHEN w.disputed THEN 'sources_disagree' ELSE m.reason END AS reason,
  m.rule_id, m.rule_status, m.transport_required,
  CASE WHEN w.disputed THEN 'disputed' ELSE m.transport_status END AS transport_status,
  m.transport,
  CASE w.outcome_place WHEN 0 THEN 'blocked' WHEN 1 THEN 'blocked_l7' WHEN 2 THEN 'served' WHEN 3 THEN 'refused'
                       WHEN 4 THEN 'reached' WHEN 5 THEN 'attempted' ELSE 'unknown' END AS outcome,
  m.cluster, m.protocol,
  m.initiator_kind, m.initiator_namespace, m.initiator_workload, m.initiator_component, m.initiator_ip,
  m.responder_kind, m.responder_namespace, m.responder_workload, m.responder_component, m.responder_ip,
  m.target_port, w.first_seen, w.last_seen, w.flows, w.connections, w.bytes,
  substr(CASE WHEN w.from_calico = 1 THEN ',calico' ELSE '' END || CASE WHEN w.from_envoy = 1 THEN ',envoy' ELSE '' END
    || CASE WHEN w.from_pcap = 1 THEN ',pcap' ELSE '' END, 2) AS sources,
  w.flow_ids
FROM weighed w
JOIN member m ON m.tuple = w.tuple AND m.nth = w.nth AND m.place = 1
