-- says: Clusters of which any Service is known: every cluster has one, the API server's.
-- reads: endpoint
-- returns: cluster
-- one row per: cluster
SELECT DISTINCT cluster FROM endpoint WHERE basis = 'service'
