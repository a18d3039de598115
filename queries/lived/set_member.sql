-- says: Who is in the sets that held an address, a port or a name meanwhile.
-- reads: every_set_member, holding, endpoint, named
-- returns: set_id, party_id
-- one row per: set_id, party_id
SELECT m.set_id, m.party_id
FROM every_set_member m
JOIN (
  SELECT set_id FROM holding UNION SELECT set_id FROM endpoint UNION SELECT set_id FROM named
) h ON h.set_id = m.set_id
