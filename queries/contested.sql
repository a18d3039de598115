-- says: Spans of an address that two holders claim by their own records: the later start kept it.
-- reads: contested, asked
-- returns: cluster, address, valid_from, valid_to, lost, kept
-- one row per: cluster, address, lost, kept
-- cannot tell: whether the one that lost the span was gone then, or the one that kept it was not there yet.
SELECT c.cluster, c.address, min(c.valid_from) AS valid_from, max(c.valid_to) AS valid_to, c.lost, c.kept
FROM contested c CROSS JOIN asked a
WHERE (a.since IS NULL OR c.valid_to > a.since) AND (a.until IS NULL OR c.valid_from < a.until)
GROUP BY c.cluster, c.address, c.lost, c.kept
ORDER BY 1, 2, 3, 5, 6
