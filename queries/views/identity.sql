-- says: Who held which address from when until when.
-- reads: holding, set_member, candidate
-- returns: cluster, address, valid_from, valid_to, known_until, kind, namespace, pod, workload, workload_kind, service_account, node, in_mesh, component
-- one row per: cluster, address, valid_from, kind, namespace, pod
SELECT h.cluster, h.address, h.valid_from, h.valid_to, h.known_until, c.kind, c.namespace, c.pod, c.workload,
  c.workload_kind, c.service_account, c.node, c.in_mesh, c.component
FROM holding h
JOIN set_member m ON m.set_id = h.set_id
JOIN candidate c ON c.party_id = m.party_id
