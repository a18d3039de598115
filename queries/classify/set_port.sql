-- says: Ports that a holder declares, or that rules speak of at it: what tells which end answers.
-- reads: set_member, party_port, candidate_term, rule_grant
-- returns: set_id, protocol, port
-- one row per: set_id, protocol, port
SELECT DISTINCT m.set_id, p.protocol, p.port
FROM set_member m JOIN party_port p ON p.party_id = m.party_id
UNION
SELECT DISTINCT m.set_id, g.protocol, g.port_lo
FROM set_member m
JOIN candidate_term t ON t.party_id = m.party_id
JOIN rule_grant g ON g.to_term = t.term
WHERE g.port_lo = g.port_hi
ORDER BY 1, 2, 3
