-- says: Conversations: rows of several sources that share the wire 5-tuple and overlap in time are one.
-- reads: flow, verdict, exchange_flow, contradiction
-- returns: exchange_id, exchange_verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, outcome, cluster, protocol, initiator_kind, initiator_namespace, initiator_workload, initiator_component, initiator_ip, responder_kind, responder_namespace, responder_workload, responder_component, responder_ip, target_port, first_seen, last_seen, flows, connections, bytes, violations, contradicting_name, contradicting_principal, sources, flow_ids
-- one row per: exchange_id
-- cannot tell: what rows without a whole 5-tuple say of others; such rows are exchanges of their own (see exchange_flow).
-- The firmest row says who, which rule and what is required; what was seen of the transport is taken from all rows.
-- A row that names somebody else than the address's holder, and is undecided for it, knows more than those that do not.
-- `violations` counts the rows that say a requirement was violated, also where others contradict them.
-- `contradicting_name` and `contradicting_principal` are the first rows that contradict an address (see contradiction).
WITH contradicted AS (
  SELECT k.flow_id, max(CASE WHEN k.told_by = 'name' THEN k.flow_id END) AS by_name,
    max(CASE WHEN k.told_by = 'principal' THEN k.flow_id END) AS by_principal
  FROM contradiction k GROUP BY k.flow_id
), member AS (
  SELECT e.exchange_id, f.flow_id, f.source, f.segment, f.reporter, f.first_seen,
    coalesce(f.last_seen, f.first_seen) AS last_seen, f.cluster, f.protocol, f.outcome,
    f.initiator_kind, f.initiator_namespace, f.initiator_workload, f.initiator_component, f.initiator_ip,
    f.responder_kind, f.responder_namespace, f.responder_workload, f.responder_component, f.responder_ip,
    f.target_port, greatest(coalesce(f.connections, 1), 1) AS connections,
    CASE WHEN f.bytes_sent IS NOT NULL OR f.bytes_received IS NOT NULL
         THEN coalesce(f.bytes_sent, 0) + coalesce(f.bytes_received, 0) END AS bytes,
    f.transport, f.transport_basis, f.transport_grade,
    v.verdict, v.reason, v.rule_id, v.rule_status, v.transport_required, v.transport_status,
    CASE WHEN v.verdict IN ('expected', 'plaintext') OR v.reason IN ('not_mutual', 'tls_missing') THEN 'allowed'
         WHEN v.verdict = 'unexpected' THEN 'not_allowed'
         WHEN v.verdict = 'out_of_scope' THEN 'unmodelled' END AS answer,
    e.alone, e.joined_by, f.initiator_port, f.initiator_basis NOT IN ('first_seen', 'known_port') AS knows_initiator,
    v.reason = 'principal_contradicts'
      OR (v.reason = 'initiator_ambiguous' AND f.initiator_identity_basis = 'name_and_address')
      OR (v.reason = 'responder_ambiguous' AND f.responder_identity_basis = 'name_and_address') AS doubts,
    k.by_name, k.by_principal
  FROM exchange_flow e
  JOIN flow f ON f.flow_id = e.flow_id
  JOIN verdict v ON v.flow_id = e.flow_id
  LEFT JOIN contradicted k ON k.flow_id = e.flow_id
), opened AS (
  -- A guess of who opened yields to a row that knows.
  SELECT m.*,
    m.joined_by = 'wire' AND NOT m.knows_initiator
      AND count(CASE WHEN m.knows_initiator THEN 1 END) OVER (PARTITION BY m.exchange_id) > 0
      AND count(CASE WHEN m.knows_initiator THEN 1 END) OVER (
        PARTITION BY m.exchange_id, m.initiator_ip, m.initiator_port) = 0 AS overruled
  FROM member m WHERE NOT m.alone
  UNION ALL
  SELECT m.*, false FROM member m WHERE m.alone
), sworn AS (
  SELECT m.*,
    CASE WHEN m.transport = 'plaintext' THEN 1 ELSE 0 END AS clear,
    CASE WHEN m.transport_status = 'violated' AND NOT m.overruled THEN 1 ELSE 0 END AS violated,
    CASE WHEN m.transport IN ('tls', 'mtls') THEN 1 ELSE 0 END AS encrypted,
    CASE WHEN m.transport = 'tls' AND m.transport_basis IN ('certificate_withheld', 'peer_empty') THEN 1 ELSE 0 END
      AS one_way,
    CASE WHEN m.transport = 'mtls' AND m.transport_grade = 'proven' THEN 1 ELSE 0 END AS mutual,
    -- Inferred from what ran at the responder, so it needs the right one.
    CASE WHEN m.transport = 'mtls' AND m.transport_grade = 'inferred' AND NOT m.overruled THEN 1 ELSE 0 END
      AS mutual_inferred,
    -- A denial is the whole story unless payload is proven to have passed: by packets or a client's proxy for a denial
    -- at layer 3, by the denying proxy itself for one at layer 7, whose refusal is payload too.
    CASE WHEN m.outcome = 'served' AND m.source IN ('envoy', 'ztunnel') AND m.reporter = 'responder' THEN 0
         WHEN m.outcome = 'blocked_l7' THEN 1 WHEN m.outcome = 'served' THEN 2 WHEN m.outcome = 'blocked' THEN 3
         WHEN m.outcome = 'refused' THEN 4 WHEN m.outcome = 'reached' THEN 5 WHEN m.outcome = 'attempted' THEN 6
         ELSE 7 END AS outcome_place,
    CASE WHEN m.transport = 'none' THEN 1 ELSE 0 END AS no_payload
  FROM opened m
), witness AS (
  SELECT m.*,
    row_number() OVER (PARTITION BY m.exchange_id
      ORDER BY CASE WHEN m.overruled THEN 1 ELSE 0 END, CASE WHEN m.doubts THEN 0 ELSE 1 END,
        CASE m.verdict WHEN 'unexpected' THEN 0 WHEN 'plaintext' THEN 1 WHEN 'expected' THEN 2
                       WHEN 'out_of_scope' THEN 3 ELSE 4 END,
        CASE m.transport_required WHEN 'mtls' THEN 0 WHEN 'tls' THEN 1 WHEN 'plaintext_ok' THEN 2 WHEN 'none' THEN 3
                                  ELSE 4 END,
        m.flow_id) AS place
  FROM sworn m WHERE NOT m.alone
), voice AS (
  -- What one reporter told in one input: only within it may rows be added up.
  SELECT w.exchange_id, sum(w.bytes) AS bytes,
    sum(CASE WHEN w.encrypted = 1 THEN w.connections ELSE 0 END) AS encrypted_connections,
    sum(CASE WHEN w.mutual = 1 OR w.mutual_inferred = 1 THEN w.connections ELSE 0 END) AS mutual_connections
  FROM witness w
  GROUP BY w.exchange_id, w.source, w.reporter, w.segment
), heard AS (
  SELECT o.exchange_id, CAST(max(o.bytes) AS BIGINT) AS bytes, max(o.encrypted_connections) AS encrypted_connections,
    max(o.mutual_connections) AS mutual_connections
  FROM voice o
  GROUP BY o.exchange_id
), told AS (
  SELECT w.exchange_id, min(w.first_seen) AS first_seen, max(w.last_seen) AS last_seen, count(*) AS flows,
    max(w.connections) AS connections, listagg(DISTINCT w.source, ',' ORDER BY w.source) AS sources,
    max(w.clear) AS clear, max(w.violated) AS violated, max(w.encrypted) AS encrypted, max(w.one_way) AS one_way,
    max(w.mutual) AS mutual, max(w.mutual_inferred) AS mutual_inferred,
    sum(CASE WHEN w.clear = 1 OR w.violated = 1 THEN 1 ELSE 0 END) AS told_clear,
    max(w.no_payload) AS no_payload,
    count(DISTINCT CASE WHEN NOT w.overruled THEN w.answer END) AS answers,
    min(w.by_name) AS contradicting_name, min(w.by_principal) AS contradicting_principal,
    min(w.outcome_place) AS outcome_place,
    '["' || listagg(CASE WHEN w.place <= 20 THEN w.flow_id END, '","' ORDER BY w.flow_id) || '"]' AS flow_ids
  FROM witness w
  GROUP BY w.exchange_id
), weighed AS (
  SELECT t.exchange_id, t.first_seen, t.last_seen, t.flows, t.connections, h.bytes, t.sources, t.flow_ids, t.outcome_place,
    r.verdict, r.reason, r.rule_id, r.rule_status, r.transport_required, r.transport_status, r.answer,
    r.cluster, r.protocol, r.initiator_kind, r.initiator_namespace, r.initiator_workload, r.initiator_component,
    r.initiator_ip, r.responder_kind, r.responder_namespace, r.responder_workload, r.responder_component, r.responder_ip,
    r.target_port, t.encrypted, t.one_way, t.mutual, t.no_payload, t.clear,
    coalesce(r.transport_required IN ('mtls', 'tls'), false) AS required,
    CASE WHEN t.violated = 1 OR r.transport_required IN ('mtls', 'tls') THEN t.told_clear ELSE 0 END AS violations,
    t.answers > 1 AS answers_differ,
    t.contradicting_name, t.contradicting_principal,
    greatest(t.clear, t.violated) + greatest(t.mutual, t.mutual_inferred) + t.one_way > 1
      OR t.clear + t.encrypted > 1 AS transports_differ,
    h.encrypted_connections >= t.connections AS all_encrypted, h.mutual_connections >= t.connections AS all_mutual
  FROM told t
  JOIN heard h ON h.exchange_id = t.exchange_id
  JOIN witness r ON r.exchange_id = t.exchange_id AND r.place = 1
  UNION ALL
  -- Who is alone is its own best witness: nothing is to be sorted, and most are.
  SELECT s.exchange_id, s.first_seen, s.last_seen, 1, s.connections, s.bytes, s.source, '["' || s.flow_id || '"]',
    s.outcome_place, s.verdict, s.reason, s.rule_id, s.rule_status, s.transport_required, s.transport_status, s.answer,
    s.cluster, s.protocol, s.initiator_kind, s.initiator_namespace, s.initiator_workload, s.initiator_component,
    s.initiator_ip, s.responder_kind, s.responder_namespace, s.responder_workload, s.responder_component, s.responder_ip,
    s.target_port, s.encrypted, s.one_way, s.mutual, s.no_payload, s.clear,
    coalesce(s.transport_required IN ('mtls', 'tls'), false),
    CASE WHEN s.violated = 1 OR s.transport_required IN ('mtls', 'tls') THEN greatest(s.clear, s.violated) ELSE 0 END,
    false, s.by_name, s.by_principal,
    greatest(s.clear, s.violated) + greatest(s.mutual, s.mutual_inferred) + s.one_way > 1 OR s.clear + s.encrypted > 1,
    s.encrypted = 1, s.mutual = 1 OR s.mutual_inferred = 1
  FROM sworn s WHERE s.alone
), compared AS (
  SELECT w.*,
    CASE
      WHEN w.answers_differ OR (w.required AND w.transports_differ) OR (NOT w.required AND w.violations > 0) THEN 'disputed'
      WHEN NOT w.required THEN w.transport_status
      WHEN w.violations > 0 THEN 'violated'
      WHEN w.transport_required = 'mtls' AND w.one_way = 1 THEN 'not_mutual'
      -- A row that stands for several connections is verified when as many are.
      WHEN w.transport_required = 'tls' THEN CASE WHEN w.all_encrypted THEN 'met' ELSE 'unverified' END
      WHEN NOT w.all_mutual THEN 'unverified'
      WHEN w.mutual = 1 THEN 'met'
      ELSE 'met_inferred'
    END AS status
  FROM weighed w
)
SELECT c.exchange_id,
  CASE WHEN c.status = 'disputed' THEN 'unknown'
       WHEN c.answer = 'allowed' AND c.status = 'violated' AND c.transport_required = 'mtls' THEN 'plaintext'
       WHEN c.answer = 'allowed' AND c.status IN ('violated', 'not_mutual') THEN 'unexpected'
       ELSE c.verdict END AS exchange_verdict,
  CASE WHEN c.status = 'disputed' THEN 'sources_disagree'
       WHEN c.answer = 'allowed' AND c.status = 'violated'
         THEN CASE c.transport_required WHEN 'mtls' THEN 'mtls_violated' ELSE 'tls_missing' END
       WHEN c.answer = 'allowed' AND c.status = 'not_mutual' THEN 'not_mutual'
       ELSE c.reason END AS reason,
  CASE WHEN NOT c.answers_differ THEN c.rule_id END AS rule_id,
  CASE WHEN c.answers_differ THEN 'undecided' ELSE c.rule_status END AS rule_status,
  CASE WHEN c.answers_differ THEN 'unknown' ELSE c.transport_required END AS transport_required,
  c.status AS transport_status,
  CASE WHEN c.transports_differ THEN 'unknown'
       WHEN c.clear = 1 THEN 'plaintext'
       WHEN c.all_mutual THEN 'mtls'
       WHEN c.all_encrypted THEN 'tls'
       WHEN c.encrypted = 0 AND c.no_payload = 1 THEN 'none'
       ELSE 'unknown' END AS transport,
  CASE c.outcome_place WHEN 0 THEN 'served' WHEN 1 THEN 'blocked_l7' WHEN 2 THEN 'served' WHEN 3 THEN 'blocked'
                       WHEN 4 THEN 'refused' WHEN 5 THEN 'reached' WHEN 6 THEN 'attempted' ELSE 'unknown' END AS outcome,
  c.cluster, c.protocol,
  c.initiator_kind, c.initiator_namespace, c.initiator_workload, c.initiator_component, c.initiator_ip,
  c.responder_kind, c.responder_namespace, c.responder_workload, c.responder_component, c.responder_ip,
  c.target_port, c.first_seen, c.last_seen, c.flows, c.connections, c.bytes, CAST(c.violations AS BIGINT) AS violations,
  c.contradicting_name, c.contradicting_principal, c.sources, c.flow_ids
FROM compared c
