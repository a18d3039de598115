-- says: Clusters of which any Service is known: every cluster has one, the API server's.
-- reads: every_endpoint
-- returns: cluster
-- one row per: cluster
-- Ever, as for known_cluster.
SELECT DISTINCT cluster FROM every_endpoint WHERE basis = 'service'
