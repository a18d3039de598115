-- says: Service accounts that a proxy verified of ends whose address nobody is known to have held, or was not recorded.
-- reads: recorded, principal, holding
-- returns: cluster, principal, namespace, service_account
-- one row per: cluster, principal
-- Certificates seen on the wire anybody may have made, and a header may be passed on: they tell nobody who an end was. Nor
-- does `default`, the account of every pod that names none.
WITH verified AS (
  SELECT cluster, initiator_principal AS principal, initiator_ip AS address, first_seen
  FROM recorded
  WHERE initiator_principal IS NOT NULL AND transport_seen_basis IN ('peer_uri', 'both_uris', 'mesh_identity')
  UNION ALL
  SELECT cluster, responder_principal, responder_ip, first_seen
  FROM recorded
  WHERE responder_principal IS NOT NULL AND transport_seen_basis IN ('peer_uri', 'both_uris', 'mesh_identity')
), unheld AS (
  SELECT DISTINCT v.cluster, v.principal
  FROM verified v
  ANTI JOIN holding h ON h.cluster = v.cluster AND h.address = v.address
    AND v.first_seen >= h.valid_from AND v.first_seen < h.valid_to
)
SELECT p.cluster, p.principal, p.namespace, p.service_account
FROM unheld u JOIN principal p ON p.cluster = u.cluster AND p.principal = u.principal
WHERE p.service_account <> 'default'
