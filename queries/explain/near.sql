-- says: What the model says about the responder at all: its rules, whatever their initiator and port.
-- reads: identified, set_candidate, candidate_term, rule_grant, rule
-- returns: rule_id, kind, from_term, to_term, protocol, port_lo, port_hi, revoked_by, says
-- one row per: rule_id, from_term, to_term, protocol, port_lo
SELECT DISTINCT u.rule_id, u.kind, g.from_term, g.to_term, g.protocol, g.port_lo, g.port_hi, u.revoked_by, u.says
FROM identified i
JOIN set_candidate s ON s.set_id = i.responder_set AND i.responder_set <> 'unknown'
JOIN candidate_term t ON t.party_id = s.party_id AND t.term LIKE 'component:%'
JOIN rule_grant g ON g.to_term = t.term
JOIN rule u ON u.rule_id = g.rule_id
ORDER BY ALL
