-- says: How many minutes of the window have records of any source.
-- reads: flow, asked, observed
-- returns: first_seen, last_seen, window_minutes, observed_minutes
-- one row per: query
-- cannot tell: whether a minute without records was quiet or not observed.
-- The window is what was asked for; where no begin or end was asked for, the first or last record's.
WITH seen AS (
  SELECT min(f.first_seen) AS first_seen, max(coalesce(f.last_seen, f.first_seen)) AS last_seen
  FROM flow f CROSS JOIN asked a
  WHERE (a.since IS NULL OR coalesce(f.last_seen, f.first_seen) >= a.since)
    AND (a.until IS NULL OR f.first_seen < a.until)
), fresh AS (
  -- Of each run of any source, the minutes that none before it covers.
  SELECT o.minute_to, greatest(o.minute_from, coalesce(max(o.minute_to) OVER (
    ORDER BY o.minute_from, o.minute_to, o.source ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, o.minute_from))
    AS minute_from
  FROM observed o
)
SELECT s.first_seen, s.last_seen,
  CAST(greatest(0, coalesce(coalesce(ceil(epoch(a.until) / 60), floor(epoch(s.last_seen) / 60) + 1)
    - floor(epoch(coalesce(a.since, s.first_seen)) / 60), 0)) AS BIGINT) AS window_minutes,
  (SELECT CAST(coalesce(sum(minute_to - minute_from + 1), 0) AS BIGINT) FROM fresh WHERE minute_to >= minute_from)
    AS observed_minutes
FROM seen s CROSS JOIN asked a
