-- says: Between which moments a node whose address may hide its pods ran the same ones.
-- reads: recorded, set_fact, set_member, party, masqueraded_life
-- returns: set_id, valid_from, valid_to
-- one row per: set_id, valid_from
-- Flows of one node that begin within one such span, and end within one, may hide the same pods.
WITH seen AS (
  SELECT min(first_seen) AS since,
    max(CASE WHEN source = 'calico' AND last_seen > first_seen THEN last_seen ELSE first_seen END) AS until
  FROM recorded
), on_node AS (
  SELECT DISTINCT t.set_id, n.cluster, n.node
  FROM set_fact t
  JOIN set_member m ON m.set_id = t.set_id
  JOIN party n ON n.party_id = m.party_id AND n.kind = 'node'
  WHERE t.has_node
), life AS (
  SELECT o.set_id, l.valid_from, l.valid_to
  FROM masqueraded_life l
  JOIN seen s ON l.valid_from <= s.until AND l.valid_to > s.since
  JOIN on_node o ON o.cluster = l.cluster AND o.node = l.node
), change AS (
  SELECT set_id, valid_from AS moment FROM life
  UNION
  SELECT set_id, valid_to FROM life
), ordered AS (
  SELECT set_id, moment, lead(moment) OVER (PARTITION BY set_id ORDER BY moment) AS next FROM change
)
-- Before the first and after the last of them there were none.
SELECT set_id, moment AS valid_from, next AS valid_to FROM ordered WHERE next IS NOT NULL
