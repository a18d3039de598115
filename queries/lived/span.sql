-- says: From when until when these flows lasted.
-- reads: recorded
-- returns: since, until
-- one row per: since
-- Only Calico records are windows; packets and lines are judged by the moment they began. No times, no row.
SELECT min(first_seen) AS since,
  max(CASE WHEN source = 'calico' AND last_seen > first_seen THEN last_seen ELSE first_seen END) AS until
FROM recorded HAVING count(first_seen) > 0
