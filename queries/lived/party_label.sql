-- says: The labels of those who held anything meanwhile.
-- reads: every_party_label, party
-- returns: party_id, key, value
-- one row per: party_id, key
SELECT x.party_id, x.key, x.value
FROM every_party_label x JOIN party p ON p.party_id = x.party_id
