-- says: How a set of candidates is shown: what all of them share, and their names when there are several.
-- reads: set_candidate, candidate
-- returns: set_id, kind, namespace, pod, workload, workload_kind, service_account, labels, node, in_mesh, component, candidates
-- one row per: set_id
-- Most sets hold one: nothing is to be compared there.
WITH size AS (
  SELECT set_id, count(*) AS members, min(party_id) AS party_id FROM set_candidate GROUP BY set_id
), member AS (
  SELECT s.set_id, c.kind, c.namespace, c.pod, c.workload, c.workload_kind, c.service_account, c.labels, c.node,
    c.in_mesh, c.component,
    CASE WHEN c.kind = 'pod' THEN c.namespace || '/' || c.pod
         WHEN c.kind = 'node' THEN 'node ' || c.node
         WHEN c.kind IN ('service', 'api_server') THEN coalesce(c.namespace || '/' || c.workload, c.party_id)
         ELSE c.party_id END AS shown,
    row_number() OVER (PARTITION BY s.set_id ORDER BY c.party_id) AS nth
  FROM size z JOIN set_candidate s ON s.set_id = z.set_id JOIN candidate c ON c.party_id = s.party_id
  WHERE z.members > 1
)
SELECT m.set_id,
  CASE WHEN count(DISTINCT m.kind) = 1 THEN min(m.kind)
       WHEN max(CASE WHEN m.kind = 'external' THEN 1 ELSE 0 END) = 1 THEN 'ambiguous'
       WHEN max(CASE WHEN m.kind = 'api_server' THEN 1 ELSE 0 END) = 1 THEN 'api_server'
       WHEN max(CASE WHEN m.kind = 'node' THEN 1 ELSE 0 END) = 1 THEN 'node'
       ELSE 'ambiguous' END AS kind,
  CASE WHEN count(DISTINCT coalesce(m.namespace, '-')) = 1 THEN min(m.namespace) END AS namespace,
  CASE WHEN count(DISTINCT coalesce(m.pod, '-')) = 1 THEN min(m.pod) END AS pod,
  CASE WHEN count(DISTINCT coalesce(m.workload_kind || '/' || m.workload, '-')) = 1 THEN min(m.workload) END AS workload,
  CASE WHEN count(DISTINCT coalesce(m.workload_kind || '/' || m.workload, '-')) = 1 THEN min(m.workload_kind) END
    AS workload_kind,
  CASE WHEN count(DISTINCT coalesce(m.service_account, '-')) = 1 THEN min(m.service_account) END AS service_account,
  CASE WHEN count(DISTINCT coalesce(m.labels, '-')) = 1 THEN min(m.labels) END AS labels,
  CASE WHEN count(DISTINCT coalesce(m.node, '-')) = 1 THEN min(m.node) END AS node,
  CASE WHEN min(CASE WHEN m.in_mesh THEN 1 ELSE 0 END) = max(CASE WHEN m.in_mesh THEN 1 ELSE 0 END)
    AND count(m.in_mesh) = count(*) THEN max(CASE WHEN m.in_mesh THEN 1 ELSE 0 END) = 1 END AS in_mesh,
  CASE WHEN count(DISTINCT coalesce(m.component, '-')) = 1 THEN min(m.component) END AS component,
  CASE WHEN count(*) > 1 AND m.set_id <> 'unknown'
    THEN '["' || listagg(CASE WHEN m.nth <= 20 THEN m.shown END, '","' ORDER BY m.shown) || '"]' END AS candidates
FROM member m
GROUP BY m.set_id
UNION ALL
SELECT z.set_id, c.kind, c.namespace, c.pod, c.workload, c.workload_kind, c.service_account, c.labels, c.node, c.in_mesh,
  c.component, NULL
FROM size z JOIN candidate c ON c.party_id = z.party_id
WHERE z.members = 1
