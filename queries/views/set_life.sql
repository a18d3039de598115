-- says: From when until when each set of holders held anything, gaps included.
-- reads: holding, endpoint, named
-- returns: set_id, since, until
-- one row per: set_id
-- Tables of millions of sets carry it, so that looking for those of one hour compares times, not names.
SELECT h.set_id, min(h.valid_from) AS since, max(h.valid_to) AS until
FROM (
  SELECT set_id, valid_from, valid_to FROM holding
  UNION ALL SELECT set_id, valid_from, valid_to FROM endpoint
  UNION ALL SELECT set_id, valid_from, valid_to FROM named
) h
GROUP BY h.set_id
