-- says: Clusters of which anything is known.
-- reads: every_party
-- returns: cluster
-- one row per: cluster
-- Ever: that nobody of a cluster held anything meanwhile does not make it unknown.
SELECT DISTINCT cluster FROM every_party WHERE kind <> 'range'
