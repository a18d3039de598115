-- says: Flows from a node's address, and which population of pods the node masqueraded then.
-- reads: recorded, located, window_holder, set_fact, set_member, party, masqueraded_life
-- returns: segment, record, since, until, changed
-- one row per: segment, record
-- `changed` is when a pod last came to the node or went, before the first and the last moment of the flow: flows of one
-- node with equal `changed` may hide the same pods. Only Calico records are windows of time.
WITH told AS (
  SELECT e.segment, e.record, e.set_id
  FROM (
    SELECT l.segment, l.record, CASE WHEN n.nth = 1 THEN l.initiator_name_set ELSE l.initiator_address_set END AS set_id
    FROM located l CROSS JOIN (SELECT 1 AS nth UNION ALL SELECT 2) n
  ) e
  JOIN set_fact s ON s.set_id = e.set_id AND s.has_node
  UNION
  SELECT segment, record, set_id FROM window_holder WHERE initiator
), asked AS (
  SELECT t.segment, t.record, t.set_id, f.first_seen AS since,
    CASE WHEN f.source = 'calico' AND f.last_seen > f.first_seen THEN f.last_seen ELSE f.first_seen END AS until
  FROM told t JOIN recorded f ON f.segment = t.segment AND f.record = t.record
), seen AS (
  SELECT min(since) AS since, max(until) AS until FROM asked
), on_node AS (
  SELECT DISTINCT a.set_id, n.cluster, n.node
  FROM (SELECT DISTINCT set_id FROM asked) a
  JOIN set_member m ON m.set_id = a.set_id
  JOIN party n ON n.party_id = m.party_id AND n.kind = 'node'
), life AS (
  SELECT o.set_id, m.valid_from, m.valid_to
  FROM masqueraded_life m
  JOIN seen s ON m.valid_from <= s.until AND m.valid_to > s.since
  JOIN on_node o ON o.cluster = m.cluster AND o.node = m.node
), event AS (
  SELECT set_id, valid_from AS at, 0 AS place, CAST(NULL AS VARCHAR) AS segment, CAST(NULL AS BIGINT) AS record FROM life
  UNION
  SELECT set_id, valid_to, 0, NULL, NULL FROM life
  UNION ALL
  SELECT set_id, since, 1, segment, record FROM asked
  UNION ALL
  SELECT set_id, until, 2, segment, record FROM asked
), placed AS (
  SELECT e.segment, e.record, e.at, e.place,
    max(CASE WHEN e.place = 0 THEN e.at END) OVER (PARTITION BY e.set_id ORDER BY e.at, e.place
                                                  ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS changed
  FROM event e
)
SELECT p.segment, p.record, min(p.at) AS since, max(p.at) AS until,
  coalesce(CAST(max(CASE WHEN p.place = 1 THEN p.changed END) AS VARCHAR), '') || '-'
    || coalesce(CAST(max(CASE WHEN p.place = 2 THEN p.changed END) AS VARCHAR), '') AS changed
FROM placed p
WHERE p.place > 0
GROUP BY p.segment, p.record
