-- says: Who held anything meanwhile.
-- reads: every_party, set_member
-- returns: party_id, cluster, kind, namespace, pod, workload, workload_kind, service_account, labels, node, in_mesh, host_network, label_set, profile, masqueraded, masqueraded_to_nodes
-- one row per: party_id
SELECT p.party_id, p.cluster, p.kind, p.namespace, p.pod, p.workload, p.workload_kind, p.service_account, p.labels, p.node,
  p.in_mesh, p.host_network, p.label_set, p.profile, p.masqueraded, p.masqueraded_to_nodes
FROM every_party p JOIN (SELECT DISTINCT party_id FROM set_member) m ON m.party_id = p.party_id
