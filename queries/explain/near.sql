-- says: The rules of the responder's component that do not allow this, nearest first, and what each fails by.
-- reads: identified, set_candidate, candidate_term, rule_grant, rule, rule_match
-- returns: place, rule_id, kind, from_term, to_term, protocol, port_lo, port_hi, port_class, transport, revoked_by, says, source, fails_source, fails_port, fails_protocol
-- one row per: rule_id, from_term, to_term, protocol, port_lo, port_class
-- A rule that fails by one thing is nearer than one that fails by two; by its source sooner than by its port.
-- `fails_source` is also said of a rule for the responder's own node, `fails_port` of one for probes, when these are not.
WITH asked AS (
  SELECT DISTINCT i.protocol, i.target_port, i.initiator_set, t.term
  FROM identified i
  JOIN set_candidate s ON s.set_id = i.responder_set AND i.responder_set <> 'unknown'
  JOIN candidate_term t ON t.party_id = s.party_id AND t.term LIKE 'component:%'
), opening AS (
  SELECT DISTINCT t.term
  FROM identified i
  JOIN set_candidate s ON s.set_id = i.initiator_set
  JOIN candidate_term t ON t.party_id = s.party_id
), compared AS (
  SELECT DISTINCT u.rule_id, u.kind, g.from_term, g.to_term, g.protocol, g.port_lo, g.port_hi, g.port_class, u.transport,
    u.revoked_by, u.says, u.source,
    o.term IS NULL OR g.from_term = 'own_node' AS fails_source,
    coalesce(g.port_lo IS NOT NULL AND (a.target_port IS NULL OR a.target_port NOT BETWEEN g.port_lo AND g.port_hi), false)
      OR g.port_class IS NOT NULL AS fails_port,
    coalesce(g.protocol <> a.protocol, false) AS fails_protocol
  FROM asked a
  JOIN rule_grant g ON g.to_term = a.term
  JOIN rule u ON u.rule_id = g.rule_id
  LEFT JOIN opening o ON o.term = g.from_term
  LEFT JOIN (SELECT DISTINCT rule_id FROM rule_match) m ON m.rule_id = u.rule_id
  WHERE m.rule_id IS NULL
)
SELECT row_number() OVER (
    ORDER BY CASE WHEN fails_source THEN 2 ELSE 0 END + CASE WHEN fails_port THEN 3 ELSE 0 END
        + CASE WHEN fails_protocol THEN 4 ELSE 0 END,
      CASE kind WHEN 'documented' THEN 0 WHEN 'infrastructure' THEN 1 WHEN 'amended' THEN 2 ELSE 3 END,
      rule_id, from_term, to_term, protocol, port_lo, port_class) AS place,
  rule_id, kind, from_term, to_term, protocol, port_lo, port_hi, port_class, transport, revoked_by, says, source,
  fails_source, fails_port, fails_protocol
FROM compared
ORDER BY place
