-- says: The words by which rules may speak of each candidate.
-- reads: candidate, party_component, component, party_address_term
-- returns: party_id, term
-- one row per: party_id, term
-- A rule about a node or the API server speaks of the address, so every holder of that address carries the term.
-- No two parts give the same row: nothing is compared.
SELECT party_id, 'any' AS term FROM candidate
UNION ALL
SELECT party_id, 'component:' || component FROM party_component
UNION ALL
SELECT party_id, 'namespace:' || namespace FROM candidate WHERE kind = 'pod'
UNION ALL
SELECT party_id, 'pod' FROM candidate WHERE kind = 'pod'
UNION ALL
SELECT party_id, 'mesh' FROM candidate WHERE in_mesh
UNION ALL
SELECT c.party_id, 'sidecar'
FROM candidate c
LEFT JOIN (
  SELECT p.party_id FROM party_component p JOIN component k ON k.component = p.component WHERE k.mesh = 'gateway'
) g ON g.party_id = c.party_id
LEFT JOIN component k ON k.component = c.component AND k.mesh = 'gateway'
WHERE c.in_mesh AND g.party_id IS NULL AND k.component IS NULL
UNION ALL
SELECT party_id, term FROM party_address_term
UNION ALL
SELECT party_id, 'own_node' FROM party_address_term WHERE term = 'node'
UNION ALL
SELECT party_id, 'external' FROM candidate WHERE kind = 'external' AND party_id = 'external'
UNION ALL
SELECT party_id, party_id FROM candidate WHERE party_id LIKE 'range:%'
UNION ALL
SELECT party_id, party_id FROM candidate WHERE party_id = 'link_local'
UNION ALL
SELECT party_id, substr(party_id, 9) FROM candidate
WHERE party_id LIKE 'unknown:%' AND party_id NOT IN ('unknown:other', 'unknown:any', 'unknown:mesh', 'unknown:sidecar')
UNION ALL
SELECT party_id, 'pod' FROM candidate
WHERE party_id LIKE 'unknown:component:%' OR party_id LIKE 'unknown:namespace:%' OR party_id IN ('unknown:mesh', 'unknown:sidecar')
UNION ALL
SELECT 'unknown:own_node', 'node' FROM candidate WHERE party_id = 'unknown:own_node'
