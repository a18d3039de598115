-- says: What an address is when nobody is known to have held it.
-- reads: address, address_range, known_cluster
-- returns: cluster, address, set_id, basis
-- one row per: cluster, address
-- Without any snapshot of a cluster not even a public address is known to be outside of it; a configured range is none.
SELECT a.cluster, a.address,
  CASE r.kind
    WHEN 'loopback' THEN 'loopback'
    WHEN 'link_local' THEN 'link_local'
    WHEN 'multicast' THEN 'link_local'
    WHEN 'named' THEN 'range:' || r.name
    ELSE CASE WHEN r.kind IS NULL AND k.cluster IS NOT NULL THEN 'external' ELSE 'unknown' END
  END AS set_id,
  CASE WHEN r.kind IN ('loopback', 'link_local', 'multicast', 'named') OR (r.kind IS NULL AND k.cluster IS NOT NULL)
    THEN 'range' ELSE 'not_found' END AS basis
FROM address a
LEFT JOIN address_range r ON r.cluster = a.cluster AND a.key BETWEEN r.lo AND r.hi
LEFT JOIN known_cluster k ON k.cluster = a.cluster
