-- says: When these flows began: the first and the last of them.
-- reads: recorded
-- returns: since, until
-- one row per: since
-- Few of all that ever was lived meanwhile: what flows are joined with is kept as small as that. No times, no row.
SELECT min(first_seen) AS since, max(first_seen) AS until FROM recorded HAVING count(first_seen) > 0
