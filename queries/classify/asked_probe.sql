-- says: The ports that are declared for probes by the candidates that these flows' ends may stand for.
-- reads: set_candidate, party_port
-- returns: party_id, protocol, port, role
-- one row per: party_id, protocol, port, role
SELECT p.party_id, p.protocol, p.port, p.role
FROM party_port p JOIN (SELECT DISTINCT party_id FROM set_candidate) a ON a.party_id = p.party_id
WHERE p.role IN ('probe', 'probe_connect')
