-- says: The service accounts of the model's trust domains whose certificates these flows show.
-- reads: recorded, trust_domain
-- returns: cluster, principal, namespace, service_account
-- one row per: cluster, principal
-- No namespace, no account: another form of name.
WITH shown AS (
  SELECT DISTINCT cluster, initiator_principal AS principal FROM recorded WHERE initiator_principal LIKE 'spiffe://%'
  UNION
  SELECT DISTINCT cluster, responder_principal FROM recorded WHERE responder_principal LIKE 'spiffe://%'
), read AS (
  SELECT o.cluster, o.principal,
    split_part(o.principal, '/', 4) = 'ns' AND split_part(o.principal, '/', 5) <> '' AND split_part(o.principal, '/', 6) = 'sa'
      AND split_part(o.principal, '/', 7) <> '' AND split_part(o.principal, '/', 8) = '' AS of_account
  FROM shown o
  JOIN (SELECT DISTINCT trust_domain FROM trust_domain) d ON d.trust_domain = split_part(o.principal, '/', 3)
)
SELECT r.cluster, r.principal,
  CASE WHEN r.of_account THEN split_part(r.principal, '/', 5) END AS namespace,
  CASE WHEN r.of_account THEN split_part(r.principal, '/', 7) END AS service_account
FROM read r
