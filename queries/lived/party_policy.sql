-- says: The PeerAuthentications that speak of those who held anything meanwhile.
-- reads: every_party_policy, party
-- returns: party_id, level, port, mode, name, since
-- one row per: party_id, level, port, name
SELECT x.party_id, x.level, x.port, x.mode, x.name, x.since
FROM every_party_policy x JOIN party p ON p.party_id = x.party_id
