-- says: Every rule that speaks of a combination's candidates, best first, revoked ones last.
-- reads: combination, set_term, rule_grant, rule, party_port
-- returns: combination, initiator_party, responder_party, rule_id, kind, transport, revoked_by, place
-- one row per: combination, initiator_party, responder_party, rule_id
WITH pair AS (
  SELECT c.combination, c.protocol, c.target_port, c.has_payload, c.era, i.party_id AS initiator_party, r.party_id AS responder_party,
    i.node AS initiator_node, r.node AS responder_node, i.term AS from_term, r.term AS to_term,
    i.kind AS initiator_kind, r.kind AS responder_kind, r.profile AS responder_profile
  FROM combination c
  JOIN set_term i ON i.set_id = c.initiator_set
  JOIN set_term r ON r.set_id = c.responder_set
), granted AS (
  SELECT p.combination, p.initiator_party, p.responder_party, u.rule_id, u.kind, u.transport, u.revoked_by,
    CASE WHEN u.revoked_by IS NULL THEN 0 ELSE 1 END AS revoked,
    CASE u.kind WHEN 'documented' THEN 0 WHEN 'infrastructure' THEN 1 WHEN 'amended' THEN 2 ELSE 3 END AS kind_place,
    CASE WHEN g.from_term LIKE 'component:%' THEN 0 WHEN g.from_term LIKE 'namespace:%' THEN 1
         WHEN g.from_term IN ('node', 'own_node', 'api_server') THEN 2 WHEN g.from_term LIKE 'range:%' THEN 3
         ELSE 4 END AS term_place,
    CASE WHEN g.port_lo = g.port_hi THEN 0 ELSE 1 END AS port_place,
    CASE u.transport WHEN 'mtls' THEN 0 WHEN 'tls' THEN 1 WHEN 'unspecified' THEN 2 ELSE 3 END AS strict_place
  FROM pair p
  JOIN rule_grant g ON g.from_term = p.from_term AND g.to_term = p.to_term
  -- An era ends where a rule expires; a flow without a time has none, and no rule that ever expires.
  JOIN rule u ON u.rule_id = g.rule_id AND (u.expires IS NULL OR u.expires > p.era)
  -- The kubelet's TCP probe connects and says nothing: whoever says something on that port is no probe.
  LEFT JOIN party_port pp ON pp.profile = p.responder_profile AND pp.protocol = p.protocol AND pp.port = p.target_port
    AND (pp.role = 'probe' OR (pp.role = 'probe_connect' AND NOT p.has_payload))
  WHERE (g.protocol IS NULL OR g.protocol = p.protocol)
    AND (g.port_lo IS NULL OR p.target_port BETWEEN g.port_lo AND g.port_hi)
    AND (g.port_class IS NULL OR pp.port IS NOT NULL)
    AND (g.from_term <> 'own_node' OR p.initiator_kind = 'unknown' OR p.responder_kind = 'unknown'
         OR p.initiator_node = p.responder_node)
), best AS (
  SELECT g.*, row_number() OVER (
    PARTITION BY g.combination, g.initiator_party, g.responder_party, g.rule_id
    ORDER BY g.term_place, g.port_place, g.strict_place) AS nth
  FROM granted g
)
SELECT combination, initiator_party, responder_party, rule_id, kind, transport, revoked_by,
  row_number() OVER (
    PARTITION BY combination, initiator_party, responder_party
    ORDER BY revoked, kind_place, term_place, port_place, strict_place, rule_id) AS place
FROM best
WHERE nth = 1
