-- says: Nodes, namespaces and minutes that no source saw anything of in the window.
-- reads: flow, vantage, observed, asked, party, candidate, set_member, set_life
-- returns: what, cluster, name, pods, first_minute, last_minute
-- one row per: what, cluster, name, first_minute
-- cannot tell: whether a node, a namespace or a minute without records was quiet or not observed.
-- Namespaces are those in scope: protected, or with pods of a component. `pods` counts those known in the window.
WITH lived AS (
  SELECT DISTINCT m.party_id
  FROM set_member m JOIN set_life l ON l.set_id = m.set_id CROSS JOIN asked a
  WHERE (a.since IS NULL OR l.until > a.since) AND (a.until IS NULL OR l.since < a.until)
), pod AS (
  SELECT p.cluster, p.namespace, p.pod, p.node, c.in_scope
  FROM party p JOIN lived l ON l.party_id = p.party_id JOIN candidate c ON c.party_id = p.party_id
  WHERE p.kind = 'pod'
), window_edge AS (
  SELECT floor(epoch(coalesce(a.since, min(f.first_seen))) / 60) AS lo,
    coalesce(ceil(epoch(a.until) / 60) - 1, floor(epoch(max(coalesce(f.last_seen, f.first_seen))) / 60)) AS hi
  FROM asked a LEFT JOIN flow f ON f.first_seen IS NOT NULL
  GROUP BY a.since, a.until
), run AS (
  SELECT o.minute_from, o.minute_to FROM observed o
  UNION ALL SELECT w.hi + 1, w.hi + 1 FROM window_edge w
), gap AS (
  SELECT coalesce(max(r.minute_to) OVER (ORDER BY r.minute_from, r.minute_to
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, w.lo) AS minute_from, r.minute_from - 1 AS minute_to
  FROM run r CROSS JOIN window_edge w
), spot AS (
  SELECT 'node' AS what, p.cluster, p.node AS name, count(DISTINCT p.namespace || '/' || p.pod) AS pods,
    CAST(NULL AS BIGINT) AS minute_from, CAST(NULL AS BIGINT) AS minute_to
  FROM pod p LEFT JOIN (SELECT DISTINCT cluster, node FROM vantage) v ON v.cluster = p.cluster AND v.node = p.node
  WHERE v.node IS NULL AND p.node IS NOT NULL
  GROUP BY p.cluster, p.node
  UNION ALL
  SELECT 'namespace', p.cluster, p.namespace, count(DISTINCT p.namespace || '/' || p.pod), NULL, NULL
  FROM pod p
  LEFT JOIN (SELECT DISTINCT cluster, namespace FROM vantage) v ON v.cluster = p.cluster AND v.namespace = p.namespace
  WHERE v.namespace IS NULL AND p.in_scope
  GROUP BY p.cluster, p.namespace
  UNION ALL
  SELECT 'minutes', NULL, NULL, NULL, CAST(g.minute_from AS BIGINT), CAST(g.minute_to AS BIGINT)
  FROM gap g WHERE g.minute_to >= g.minute_from
)
SELECT s.what, s.cluster, s.name, CAST(s.pods AS BIGINT) AS pods,
  CAST('1970-01-01 00:00:00+00' AS TIMESTAMP WITH TIME ZONE) + s.minute_from * INTERVAL '1' MINUTE AS first_minute,
  CAST('1970-01-01 00:00:00+00' AS TIMESTAMP WITH TIME ZONE) + s.minute_to * INTERVAL '1' MINUTE AS last_minute
FROM spot s
ORDER BY s.what, s.cluster, s.name, s.minute_from
