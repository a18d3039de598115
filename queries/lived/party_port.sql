-- says: The ports that are declared by those who held anything meanwhile.
-- reads: every_party_port, party
-- returns: party_id, protocol, port, role
-- one row per: party_id, protocol, port, role
SELECT x.party_id, x.protocol, x.port, x.role
FROM every_party_port x JOIN party p ON p.party_id = x.party_id
