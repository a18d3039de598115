-- says: Who held an address at a moment, and how long that is vouched for.
-- reads: identity
-- params: address, time
-- returns: cluster, address, kind, namespace, pod, workload, workload_kind, component, valid_from, valid_to, known_until
-- one row per: cluster, address, kind, namespace, pod
SELECT cluster, address, kind, namespace, pod, workload, workload_kind, component, valid_from, valid_to, known_until
FROM identity
WHERE address = $address AND valid_from <= CAST($time AS TIMESTAMPTZ) AND valid_to > CAST($time AS TIMESTAMPTZ)
ORDER BY ALL
