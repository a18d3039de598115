-- says: The three answers and the verdict for each pair of candidates of a combination.
-- reads: combination, candidate_pair, set_candidate, candidate, candidate_term, party_port, party_component, component, selector, rule, rule_grant, rule_match, mesh_mode
-- returns: combination, initiator_party, responder_party, verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, transport_basis, transport_grade
-- one row per: combination, initiator_party, responder_party
-- A Service whose pods are not known is nobody: what answers behind it may be anyone.
-- No document speaks of a pod that reaches itself. What the policies of the mesh require of it holds all the same.
WITH claimed AS (
  SELECT DISTINCT k.party_id
  FROM (SELECT DISTINCT r.party_id FROM combination c JOIN set_candidate r ON r.set_id = c.responder_set) a
  JOIN party_component k ON k.party_id = a.party_id
), unmet AS (
  -- Components of which the model does not say which pods they are.
  SELECT DISTINCT k.component FROM component k ANTI JOIN selector s ON s.component = k.component
), spoken AS (
  -- Combinations whose port some rule opens at the responder, whoever asks; whether to somebody nobody can recognise.
  SELECT c.combination, r.party_id AS responder_party, max(CASE WHEN n.component IS NOT NULL THEN 1 ELSE 0 END) AS unmet
  FROM combination c
  JOIN set_candidate r ON r.set_id = c.responder_set
  JOIN candidate p ON p.party_id = r.party_id
  JOIN candidate_term t ON t.party_id = r.party_id
  JOIN rule_grant g ON g.to_term = t.term
  JOIN rule u ON u.rule_id = g.rule_id AND u.revoked_by IS NULL AND (u.expires IS NULL OR u.expires > c.era)
  LEFT JOIN unmet n ON g.from_term = 'component:' || n.component
  LEFT JOIN party_port pp ON pp.profile = p.profile AND pp.protocol = c.protocol
    AND pp.port = c.target_port AND pp.role IN ('probe', 'probe_connect')
  WHERE t.term LIKE 'component:%' AND (g.protocol IS NULL OR g.protocol = c.protocol)
    AND (g.port_lo IS NULL OR c.target_port BETWEEN g.port_lo AND g.port_hi)
    AND (g.port_class IS NULL OR pp.port IS NOT NULL)
  GROUP BY c.combination, r.party_id
), pair AS (
  SELECT c.combination, c.target_port, c.seen, c.seen_basis, c.trusted, c.has_payload, c.mesh_mtls,
    w.initiator_party, w.responder_party, w.itself,
    -- Whom only a service account tells may be another pod of that account, which nobody saw.
    c.initiator_set LIKE 'account:%' OR c.responder_set LIKE 'account:%' AS by_account,
    pi.kind AS initiator_kind, pi.in_scope AS initiator_in_scope, pi.egress, pr.kind AS responder_kind, pr.in_scope,
    coalesce(pr.in_mesh, false) AS in_mesh,
    m.mode, coalesce(m.captured, false) AS captured, coalesce(m.excluded, false) AS excluded,
    -- Under DISABLE the sidecar passes TLS on to the app, as ztunnel always does: such a handshake says nothing of the mesh.
    coalesce(m.by_sidecar AND m.mode <> 'DISABLE', false) AS terminates,
    a.rule_id, a.kind AS rule_kind, a.transport AS rule_transport,
    x.rule_id AS revoked_rule, s.combination IS NOT NULL AS port_spoken_of,
    coalesce(s.unmet = 1, false) AND pi.kind = 'pod' AND pi.component IS NULL AND x.rule_id IS NULL AS may_be_unmet,
    k.party_id IS NOT NULL OR pr.component IS NOT NULL AS claimed
  FROM combination c
  JOIN candidate_pair w ON w.combination = c.combination
  JOIN candidate pi ON pi.party_id = w.initiator_party
  JOIN candidate pr ON pr.party_id = w.responder_party
  LEFT JOIN mesh_mode m ON m.party_id = w.responder_party AND m.protocol = c.protocol
    AND coalesce(m.port, -1) = coalesce(c.target_port, -1)
  LEFT JOIN rule_match a ON a.combination = c.combination AND a.initiator_party = w.spoken_party
    AND a.responder_party = w.responder_party AND a.place = 1 AND a.revoked_by IS NULL
  LEFT JOIN rule_match x ON x.combination = c.combination AND x.initiator_party = w.spoken_party
    AND x.responder_party = w.responder_party AND x.place = 1 AND x.revoked_by IS NOT NULL
  LEFT JOIN spoken s ON s.combination = c.combination AND s.responder_party = w.responder_party
  LEFT JOIN claimed k ON k.party_id = w.responder_party
), required AS (
  SELECT p.*,
    CASE WHEN p.seen = 'mtls' AND NOT p.trusted THEN 'tls'
         WHEN p.seen = 'tls' AND p.seen_basis = 'istio_alpn' AND p.terminates THEN 'mtls'
         WHEN p.seen = 'tls' AND p.seen_basis = 'outbound_sni' THEN 'mtls'
         WHEN p.seen = 'tls' AND p.seen_basis IN ('forwarded_client_cert', 'both_uris') AND p.trusted THEN 'mtls'
         ELSE p.seen END AS transport,
    CASE WHEN p.seen = 'mtls' AND NOT p.trusted THEN 'foreign_trust_domain'
         WHEN p.seen = 'tls' AND p.seen_basis = 'istio_alpn' AND NOT p.terminates THEN 'responder_not_in_mesh'
         ELSE p.seen_basis END AS transport_basis,
    CASE WHEN p.seen = 'unknown' THEN NULL
         WHEN p.seen = 'tls' AND p.seen_basis = 'istio_alpn' AND p.terminates THEN 'inferred'
         WHEN p.seen = 'tls' AND p.seen_basis = 'outbound_sni' THEN 'inferred'
         WHEN p.seen = 'tls' AND p.seen_basis IN ('forwarded_client_cert', 'both_uris') AND p.trusted THEN 'inferred'
         ELSE 'proven' END AS transport_grade,
    p.rule_id IS NOT NULL OR p.in_scope OR p.in_mesh OR p.responder_kind = 'service' AS concerns,
    CASE
      WHEN p.rule_transport IN ('mtls', 'tls', 'plaintext_ok') THEN p.rule_transport
      WHEN p.responder_kind IN ('unknown', 'service') OR p.mode IS NULL OR p.mode = 'unknown' THEN 'unknown'
      WHEN p.excluded THEN 'plaintext_ok'
      WHEN p.captured AND p.mode = 'STRICT' THEN 'mtls'
      ELSE 'none'
    END AS transport_required
  FROM pair p
), compared AS (
  SELECT r.*,
    CASE
      WHEN r.transport_required = 'unknown' THEN 'requirement_unknown'
      WHEN r.transport_required = 'plaintext_ok' THEN 'exempt'
      WHEN r.transport_required = 'none' THEN 'not_required'
      WHEN r.transport = 'mtls' AND r.transport_grade = 'proven' THEN 'met'
      WHEN r.transport = 'mtls' THEN CASE WHEN r.transport_required = 'tls' THEN 'met' ELSE 'met_inferred' END
      WHEN r.transport = 'tls' AND r.transport_required = 'tls' THEN 'met'
      WHEN r.transport = 'tls' AND r.transport_basis IN ('certificate_withheld', 'peer_empty') THEN 'not_mutual'
      WHEN r.transport = 'plaintext' THEN 'violated'
      WHEN r.transport = 'unknown' AND r.transport_required = 'mtls' AND r.mesh_mtls = 'no' AND r.has_payload
        THEN 'violated'
      ELSE 'unverified'
    END AS transport_status
  FROM required r
), reflected AS (
  SELECT c.*,
    -- A rule that allows it is as good for itself as for another of its kind.
    c.itself AND CASE WHEN c.rule_id IS NULL THEN c.in_scope ELSE c.transport_status IN ('violated', 'not_mutual') END
      AS hairpin,
    c.concerns AND NOT (c.itself AND c.transport_status IN ('violated', 'not_mutual')
                        AND coalesce(c.rule_transport IN ('mtls', 'tls'), false)) AS bound
  FROM compared c
), judged AS (
  SELECT c.*,
    CASE
      WHEN c.hairpin THEN CASE WHEN c.by_account THEN 'unknown' ELSE 'out_of_scope' END
      WHEN c.rule_id IS NOT NULL THEN
        CASE WHEN c.transport_status = 'violated'
               THEN CASE WHEN c.transport_required = 'mtls' THEN 'plaintext' ELSE 'unexpected' END
             WHEN c.transport_status = 'not_mutual' THEN 'unexpected'
             ELSE 'expected' END
      WHEN c.initiator_kind = 'service' OR c.responder_kind = 'service' THEN 'unknown'
      WHEN c.in_scope AND c.may_be_unmet THEN 'unknown'
      WHEN c.in_scope THEN 'unexpected'
      WHEN c.initiator_in_scope AND c.egress IN ('closed', 'rules') THEN 'unexpected'
      WHEN c.initiator_in_scope AND c.egress = 'open' THEN 'expected'
      ELSE 'out_of_scope'
    END AS verdict,
    CASE
      WHEN c.hairpin THEN CASE WHEN c.by_account THEN 'initiator_ambiguous' ELSE 'hairpin' END
      WHEN c.rule_id IS NOT NULL THEN
        CASE WHEN c.transport_status = 'violated'
               THEN CASE WHEN c.transport_required = 'mtls' THEN 'mtls_violated' ELSE 'tls_missing' END
             WHEN c.transport_status = 'not_mutual' THEN 'not_mutual'
             ELSE 'allowed' END
      WHEN c.initiator_kind = 'service' THEN 'initiator_unknown'
      WHEN c.responder_kind = 'service' THEN 'responder_unknown'
      WHEN c.in_scope THEN
        CASE WHEN c.revoked_rule IS NOT NULL THEN 'documented_in_error'
             WHEN NOT c.claimed THEN 'unclaimed_workload'
             WHEN c.may_be_unmet THEN 'source_not_modelled'
             WHEN c.port_spoken_of THEN 'source_not_documented'
             WHEN c.target_port IS NULL THEN 'no_rule'
             ELSE 'port_not_documented' END
      WHEN c.initiator_in_scope AND c.egress IN ('closed', 'rules') THEN 'egress_not_allowed'
      WHEN c.initiator_in_scope AND c.egress = 'open' THEN 'allowed'
      WHEN c.initiator_in_scope THEN 'egress_unmodelled'
      ELSE 'foreign'
    END AS reason,
    CASE
      WHEN c.hairpin THEN CASE WHEN c.by_account THEN 'undecided' ELSE 'unmodelled' END
      WHEN c.rule_id IS NOT NULL THEN c.rule_kind
      WHEN c.initiator_kind = 'service' OR c.responder_kind = 'service' THEN 'undecided'
      WHEN c.in_scope AND c.may_be_unmet THEN 'undecided'
      WHEN c.in_scope THEN 'none'
      WHEN c.initiator_in_scope AND c.egress IN ('closed', 'rules') THEN 'none'
      WHEN c.initiator_in_scope AND c.egress = 'open' THEN 'documented'
      ELSE 'unmodelled'
    END AS rule_status
  FROM reflected c
)
SELECT j.combination, j.initiator_party, j.responder_party, j.verdict, j.reason,
  CASE WHEN NOT j.hairpin THEN coalesce(j.rule_id, CASE WHEN j.reason = 'documented_in_error' THEN j.revoked_rule END) END
    AS rule_id, j.rule_status,
  CASE WHEN j.bound THEN j.transport_required END AS transport_required,
  CASE WHEN j.bound THEN j.transport_status END AS transport_status,
  j.transport, j.transport_basis, j.transport_grade
FROM judged j
