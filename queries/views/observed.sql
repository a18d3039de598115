-- says: For each source, the minutes of the window that its records cover, as disjoint runs of minutes since 1970.
-- reads: flow, asked
-- returns: source, minute_from, minute_to
-- one row per: source, minute_from
-- cannot tell: whether a minute without records was quiet or not observed.
-- A record covers every minute from its begin to its end; both minutes of a run are in it.
WITH span AS (
  SELECT f.source,
    greatest(floor(epoch(f.first_seen) / 60), floor(epoch(a.since) / 60)) AS lo,
    least(floor(epoch(coalesce(f.last_seen, f.first_seen)) / 60), ceil(epoch(a.until) / 60) - 1) AS hi
  FROM flow f CROSS JOIN asked a
  WHERE f.first_seen IS NOT NULL AND (a.since IS NULL OR coalesce(f.last_seen, f.first_seen) >= a.since)
    AND (a.until IS NULL OR f.first_seen < a.until)
), begun AS (
  SELECT s.source, s.lo, s.hi,
    CASE WHEN s.lo <= max(s.hi) OVER (PARTITION BY s.source ORDER BY s.lo, s.hi
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 THEN 0 ELSE 1 END AS begins
  FROM (SELECT DISTINCT source, lo, hi FROM span) s
), counted AS (
  SELECT b.source, b.lo, b.hi, sum(b.begins) OVER (PARTITION BY b.source ORDER BY b.lo, b.hi) AS nth FROM begun b
)
SELECT c.source, CAST(min(c.lo) AS BIGINT) AS minute_from, CAST(max(c.hi) AS BIGINT) AS minute_to
FROM counted c
GROUP BY c.source, c.nth
