-- says: Which pods a name stood for at a moment: a component, or a namespace and a workload or pod.
-- reads: party, party_component, set_member, holding
-- params: name, time
-- returns: cluster, party_id, namespace, service_account, node
-- one row per: cluster, party_id
SELECT DISTINCT p.cluster, p.party_id, p.namespace, p.service_account, p.node
FROM party p
JOIN set_member m ON m.party_id = p.party_id
JOIN holding h ON h.set_id = m.set_id
LEFT JOIN party_component k ON k.party_id = p.party_id AND k.component = $name
WHERE p.kind = 'pod' AND h.valid_from <= CAST($time AS TIMESTAMP WITH TIME ZONE)
  AND h.valid_to > CAST($time AS TIMESTAMP WITH TIME ZONE)
  AND (k.component IS NOT NULL OR p.namespace || '/' || p.workload = $name OR p.namespace || '/' || p.pod = $name)
ORDER BY ALL
