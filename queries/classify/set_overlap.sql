-- says: Sets of holders that share a holder: a name and an address that agree.
-- reads: set_member
-- returns: name_set, address_set
-- one row per: name_set, address_set
SELECT DISTINCT a.set_id AS name_set, b.set_id AS address_set
FROM set_member a JOIN set_member b ON a.party_id = b.party_id
