-- says: Who held which address at some moment of these flows.
-- reads: every_holding, span
-- returns: cluster, address, valid_from, valid_to, known_until, set_id
-- one row per: cluster, address, valid_from
SELECT h.cluster, h.address, h.valid_from, h.valid_to, h.known_until, h.set_id
FROM every_holding h JOIN span s ON h.valid_from <= s.until AND h.valid_to > s.since
