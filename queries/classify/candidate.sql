-- says: Everyone an address may stand for: the holders that snapshots know, and a stand-in for each peer of the model.
-- reads: party, party_component, component, protected_namespace, rule_grant, address_range
-- returns: party_id, cluster, kind, namespace, pod, workload, workload_kind, service_account, labels, node, in_mesh, profile, component, in_scope, egress
-- one row per: party_id
-- An address nobody claims may be any peer the model speaks of, or none: `unknown:TERM` and `unknown:other` are those.
WITH claimed AS (
  SELECT pc.party_id, count(*) AS claims, min(pc.component) AS component,
    -- Of several components the strictest one counts.
    CASE min(CASE c.egress WHEN 'closed' THEN 1 WHEN 'rules' THEN 2 WHEN 'open' THEN 3 ELSE 4 END)
      WHEN 1 THEN 'closed' WHEN 2 THEN 'rules' WHEN 3 THEN 'open' ELSE 'unmodelled' END AS egress,
    max(CASE WHEN c.in_scope THEN 1 ELSE 0 END) AS in_scope
  FROM party_component pc JOIN component c ON c.component = pc.component
  GROUP BY pc.party_id
), term AS (
  SELECT from_term AS term FROM rule_grant UNION SELECT to_term FROM rule_grant
)
SELECT p.party_id, p.cluster, p.kind, p.namespace, p.pod, p.workload, p.workload_kind, p.service_account, p.labels,
  p.node, p.in_mesh, p.profile, CASE WHEN c.claims = 1 THEN c.component END AS component,
  coalesce(c.in_scope = 1, false) OR (p.kind = 'pod' AND n.namespace IS NOT NULL) AS in_scope, c.egress
FROM party p
LEFT JOIN claimed c ON c.party_id = p.party_id
LEFT JOIN (SELECT DISTINCT namespace FROM protected_namespace) n ON n.namespace = p.namespace
UNION ALL
SELECT 'unknown:' || t.term, NULL, 'unknown', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  CASE WHEN t.term IN ('mesh', 'sidecar') OR c.mesh IN ('yes', 'gateway') THEN true END, NULL,
  CASE WHEN t.term LIKE 'component:%' THEN substr(t.term, 11) END,
  coalesce(c.in_scope, false), c.egress
FROM term t LEFT JOIN component c ON 'component:' || c.component = t.term
UNION ALL
SELECT DISTINCT 'range:' || r.name, CAST(NULL AS VARCHAR), 'external', CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR),
  CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR),
  CAST(NULL AS BOOLEAN), CAST(NULL AS VARCHAR), r.name, false, CAST(NULL AS VARCHAR)
FROM address_range r WHERE r.kind = 'named'
UNION ALL
SELECT s.party_id, NULL, s.kind, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL
FROM (
  SELECT 'unknown:other' AS party_id, 'unknown' AS kind
  UNION ALL SELECT 'external', 'external'
  UNION ALL SELECT 'loopback', 'loopback'
  UNION ALL SELECT 'link_local', 'link_local'
) s
