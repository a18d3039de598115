-- says: Who is in every set of candidates a flow's end may stand for.
-- reads: set_member, candidate, masqueraded_life, identified, window_holder
-- returns: set_id, party_id
-- one row per: set_id, party_id
WITH side AS (
  SELECT segment, record, true AS initiator, initiator_set AS set_id, initiator_name_set AS name_set,
    initiator_address_set AS address_set
  FROM identified WHERE initiator_set LIKE '%:%'
  UNION ALL
  SELECT segment, record, false, responder_set, responder_name_set, responder_address_set
  FROM identified WHERE responder_set LIKE '%:%'
), part AS (
  SELECT set_id, name_set AS part FROM side
  UNION
  SELECT set_id, address_set FROM side
  UNION
  SELECT s.set_id, w.set_id FROM side s
  JOIN window_holder w ON w.segment = s.segment AND w.record = s.record AND w.initiator = s.initiator
), asked AS (
  SELECT initiator_set AS set_id FROM identified
  UNION SELECT responder_set FROM identified
  UNION SELECT part FROM part
), known AS (
  SELECT m.set_id, m.party_id FROM set_member m JOIN asked a ON a.set_id = m.set_id
  UNION ALL
  SELECT 'unknown', party_id FROM candidate WHERE party_id LIKE 'unknown:%'
  UNION ALL
  SELECT party_id, party_id FROM candidate
  WHERE party_id IN ('external', 'loopback', 'link_local') OR party_id LIKE 'range:%'
), told AS (
  SELECT set_id, party_id FROM known
  UNION
  SELECT p.set_id, k.party_id FROM part p JOIN known k ON k.set_id = p.part
), behind AS (
  -- The flows of one such set hide the same pods: the first moments stand for all.
  SELECT initiator_set AS set_id, min(first_seen) AS since, min(until) AS until,
    CASE WHEN initiator_set LIKE '%!pool' THEN 'pool' WHEN initiator_set LIKE '%!node' THEN 'node' END AS towards
  FROM identified WHERE initiator_set LIKE 'behind:%' GROUP BY initiator_set
), masquerading AS (
  SELECT b.set_id, b.since, b.until, b.towards, n.cluster, n.node
  FROM behind b JOIN told t ON t.set_id = b.set_id JOIN candidate n ON n.party_id = t.party_id
  WHERE n.kind = 'node'
)
SELECT set_id, party_id FROM told
UNION
SELECT m.set_id, l.party_id
FROM masquerading m
JOIN masqueraded_life l ON l.cluster = m.cluster AND l.node = m.node AND l.valid_from <= m.until AND l.valid_to > m.since
WHERE m.towards IS NULL OR l.masqueraded IS NULL OR (m.towards = 'node' AND coalesce(l.masqueraded_to_nodes, true))
