-- says: Who bore which name at some moment of these flows.
-- reads: every_named, span
-- returns: cluster, key, valid_from, valid_to, known_until, set_id
-- one row per: cluster, key, valid_from
SELECT n.cluster, n.key, n.valid_from, n.valid_to, n.known_until, n.set_id
FROM every_named n JOIN span s ON n.valid_from <= s.until AND n.valid_to > s.since
