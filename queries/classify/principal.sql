-- says: The service accounts of the model's trust domains whose certificates these flows show.
-- reads: recorded, trust_domain
-- returns: cluster, principal, namespace, service_account, vouched
-- one row per: cluster, principal
-- vouched: it may tell who an end was. A proxy verified it (certificates seen on the wire anybody may have made), and it is
-- no `default`, the account of every pod that names none. No namespace, no account: another form of name.
WITH shown AS (
  SELECT cluster, initiator_principal AS principal, transport_seen_basis AS basis
  FROM recorded WHERE initiator_principal LIKE 'spiffe://%'
  UNION ALL
  SELECT cluster, responder_principal, transport_seen_basis FROM recorded WHERE responder_principal LIKE 'spiffe://%'
), one AS (
  SELECT cluster, principal,
    max(CASE WHEN basis IN ('peer_uri', 'both_uris', 'mesh_identity') THEN 1 ELSE 0 END) = 1 AS verified
  FROM shown GROUP BY cluster, principal
), read AS (
  SELECT o.cluster, o.principal, o.verified,
    split_part(o.principal, '/', 4) = 'ns' AND split_part(o.principal, '/', 5) <> '' AND split_part(o.principal, '/', 6) = 'sa'
      AND split_part(o.principal, '/', 7) <> '' AND split_part(o.principal, '/', 8) = '' AS of_account
  FROM one o
  JOIN (SELECT DISTINCT trust_domain FROM trust_domain) d ON d.trust_domain = split_part(o.principal, '/', 3)
)
SELECT r.cluster, r.principal,
  CASE WHEN r.of_account THEN split_part(r.principal, '/', 5) END AS namespace,
  CASE WHEN r.of_account THEN split_part(r.principal, '/', 7) END AS service_account,
  r.verified AND r.of_account AND split_part(r.principal, '/', 7) <> 'default' AS vouched
FROM read r
