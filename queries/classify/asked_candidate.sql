-- says: The candidates that these flows' ends may stand for.
-- reads: set_candidate, candidate
-- returns: party_id, cluster, kind, namespace, pod, workload, workload_kind, service_account, labels, node, in_mesh, component, in_scope, egress
-- one row per: party_id
-- Few of all candidates meet in one hour: later steps look only here, not through everyone there ever was.
SELECT c.party_id, c.cluster, c.kind, c.namespace, c.pod, c.workload, c.workload_kind, c.service_account, c.labels,
  c.node, c.in_mesh, c.component, c.in_scope, c.egress
FROM candidate c JOIN (SELECT DISTINCT party_id FROM set_candidate) a ON a.party_id = c.party_id
