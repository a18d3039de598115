-- says: What follows from the addresses of those who held anything meanwhile.
-- reads: every_party_address_term, party
-- returns: party_id, term
-- one row per: party_id, term
SELECT x.party_id, x.term
FROM every_party_address_term x JOIN party p ON p.party_id = x.party_id
