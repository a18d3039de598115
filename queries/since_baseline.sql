-- says: Which findings are new: not in the baseline, on the same edge, with the same or a worse judgement.
-- reads: found, baseline
-- returns: place, new
-- one row per: place
-- An attempt is known by what took place; what took place is not known by an attempt, nor a violation without one.
WITH known AS (
  SELECT DISTINCT f.place
  FROM found f
  JOIN baseline b ON b.initiator = f.initiator AND b.responder = f.responder AND b.protocol = f.protocol
    AND b.port IS NOT DISTINCT FROM f.port AND b.cluster IS NOT DISTINCT FROM f.cluster
    AND (b.code = f.code OR (b.code = 'VZ1002' AND f.code = 'VZ1003'))
    AND (b.transport_status = 'violated' OR f.transport_status IS DISTINCT FROM 'violated')
    AND (f.outcome IN ('blocked', 'blocked_l7', 'refused', 'attempted')
      OR b.outcome NOT IN ('blocked', 'blocked_l7', 'refused', 'attempted'))
)
SELECT f.place, k.place IS NULL AS new
FROM found f LEFT JOIN known k ON k.place = f.place
ORDER BY f.place
