-- says: The spans of time between which no accepted edge expires; none where none ever does.
-- reads: rule
-- returns: always, begins, ends
-- one row per: begins
-- `always` is 1: what flows are joined by, besides their time.
WITH ending AS (
  SELECT DISTINCT expires AS moment FROM rule WHERE expires IS NOT NULL
)
SELECT 1 AS always, TIMESTAMP '0001-01-01 00:00:00' AS begins, min(moment) AS ends
FROM ending HAVING count(*) > 0
UNION ALL
SELECT 1, moment, lead(moment) OVER (ORDER BY moment) FROM ending
