-- says: Between which moments the same pods ran under a service account: whom a principal means.
-- reads: recorded, unheld_account, account_life, pods_listed
-- returns: cluster, principal, valid_from, valid_to, set_id, namespace, service_account, may_be_unseen
-- one row per: cluster, principal, valid_from
-- Who they are, `set_candidate` looks up for the moments that are asked for: an account's pods are many, and change often.
-- While another cluster runs the account too, an end may as well be one of its pods: no span.
-- may_be_unseen: a pod of the account that nobody saw may have had an address of nobody's. None had while all pods were
-- watched.
WITH asked AS (
  SELECT cluster, principal, namespace, service_account FROM unheld_account
), watched AS (
  SELECT w.cluster, w.listed_at, w.known_until
  FROM (SELECT min(first_seen) AS since, max(first_seen) AS until FROM recorded) s
  JOIN pods_listed w ON w.known_until > w.listed_at AND w.listed_at <= s.until AND w.known_until > s.since
), change AS (
  SELECT a.cluster, a.principal, l.valid_from AS moment, CASE WHEN l.cluster = a.cluster THEN 1 ELSE 0 END AS here,
    CASE WHEN l.cluster = a.cluster THEN 0 ELSE 1 END AS elsewhere, 0 AS watched
  FROM asked a JOIN account_life l ON l.namespace = a.namespace AND l.service_account = a.service_account
  UNION ALL
  SELECT a.cluster, a.principal, l.valid_to, CASE WHEN l.cluster = a.cluster THEN -1 ELSE 0 END,
    CASE WHEN l.cluster = a.cluster THEN 0 ELSE -1 END, 0
  FROM asked a JOIN account_life l ON l.namespace = a.namespace AND l.service_account = a.service_account
  UNION ALL
  SELECT a.cluster, a.principal, w.listed_at, 0, 0, 1
  FROM asked a JOIN watched w ON w.cluster = a.cluster
  UNION ALL
  SELECT a.cluster, a.principal, w.known_until, 0, 0, -1
  FROM asked a JOIN watched w ON w.cluster = a.cluster
), step AS (
  SELECT cluster, principal, moment, sum(here) AS here, sum(elsewhere) AS elsewhere, sum(watched) AS watched
  FROM change GROUP BY cluster, principal, moment
), counted AS (
  SELECT cluster, principal, moment, lead(moment) OVER (PARTITION BY cluster, principal ORDER BY moment) AS next,
    sum(here) OVER (PARTITION BY cluster, principal ORDER BY moment) AS here,
    sum(elsewhere) OVER (PARTITION BY cluster, principal ORDER BY moment) AS elsewhere,
    sum(watched) OVER (PARTITION BY cluster, principal ORDER BY moment) AS watched
  FROM step
)
SELECT c.cluster, c.principal, c.moment AS valid_from, c.next AS valid_to,
  'account:' || a.namespace || '/' || a.service_account || '@' || c.cluster || '@' || CAST(c.moment AS VARCHAR) AS set_id,
  a.namespace, a.service_account, c.watched = 0 AS may_be_unseen
FROM counted c
JOIN asked a ON a.cluster = c.cluster AND a.principal = c.principal
WHERE c.here > 0 AND c.elsewhere = 0 AND c.next IS NOT NULL
