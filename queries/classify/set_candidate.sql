-- says: Who is in every set of candidates a flow's end may stand for.
-- reads: set_member, candidate, identified
-- returns: set_id, party_id
-- one row per: set_id, party_id
WITH known AS (
  SELECT set_id, party_id FROM set_member
  UNION ALL
  SELECT 'unknown', party_id FROM candidate WHERE party_id LIKE 'unknown:%'
  UNION ALL
  SELECT party_id, party_id FROM candidate
  WHERE party_id IN ('external', 'loopback', 'link_local') OR party_id LIKE 'range:%'
), part AS (
  SELECT initiator_set AS set_id, initiator_name_set AS part FROM identified WHERE initiator_set LIKE 'either:%'
  UNION SELECT initiator_set, initiator_window FROM identified WHERE initiator_set LIKE 'either:%'
  UNION SELECT initiator_set, initiator_address_set FROM identified
        WHERE initiator_set LIKE 'either:%' AND (initiator_name_set IS NULL OR initiator_identity_basis = 'name_and_address')
  UNION SELECT responder_set, responder_name_set FROM identified WHERE responder_set LIKE 'either:%'
  UNION SELECT responder_set, responder_window FROM identified WHERE responder_set LIKE 'either:%'
  UNION SELECT responder_set, responder_address_set FROM identified
        WHERE responder_set LIKE 'either:%' AND (responder_name_set IS NULL OR responder_identity_basis = 'name_and_address')
)
SELECT set_id, party_id FROM known
UNION
SELECT p.set_id, k.party_id FROM part p JOIN known k ON k.set_id = p.part
ORDER BY 1, 2
