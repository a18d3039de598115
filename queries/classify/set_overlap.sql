-- says: Sets of holders that share a holder: a name that records use and an address that agree.
-- reads: called, set_member
-- returns: name_set, address_set
-- one row per: name_set, address_set
SELECT DISTINCT a.set_id AS name_set, b.set_id AS address_set
FROM (SELECT DISTINCT set_id FROM called) c
JOIN set_member a ON a.set_id = c.set_id
JOIN set_member b ON b.party_id = a.party_id
