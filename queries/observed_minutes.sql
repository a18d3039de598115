-- says: How many minutes of the window have records of any source.
-- reads: flow, asked
-- returns: first_seen, last_seen, window_minutes, observed_minutes
-- one row per: query
-- cannot tell: whether a minute without records was quiet or not observed.
SELECT min(f.first_seen) AS first_seen, max(f.last_seen) AS last_seen,
  CAST(coalesce(floor((epoch(max(f.last_seen)) - epoch(date_trunc('minute', min(f.first_seen)))) / 60) + 1, 0) AS BIGINT)
    AS window_minutes,
  count(DISTINCT date_trunc('minute', f.first_seen)) AS observed_minutes
FROM flow f CROSS JOIN asked a
WHERE (a.since IS NULL OR f.last_seen >= a.since) AND (a.until IS NULL OR f.first_seen < a.until)
