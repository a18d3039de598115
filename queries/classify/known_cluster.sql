-- says: Clusters of which anything is known.
-- reads: party
-- returns: cluster
-- one row per: cluster
SELECT DISTINCT cluster FROM party WHERE kind <> 'range'
