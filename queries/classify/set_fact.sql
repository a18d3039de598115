-- says: What identification asks of a set of holders: whether it is a node's address, whether a pod's own, and its class.
-- reads: set_member, party, set_class
-- returns: set_id, has_node, has_pod_address, has_account, class, class_on_node
-- one row per: set_id
-- A node's address towards anything but a pod's own address may hide the pods that the node masquerades.
SELECT m.set_id,
  max(CASE WHEN p.kind = 'node' THEN 1 ELSE 0 END) = 1 AS has_node,
  max(CASE WHEN p.kind = 'pod' AND NOT coalesce(p.host_network, false) THEN 1 ELSE 0 END) = 1 AS has_pod_address,
  max(CASE WHEN p.service_account IS NOT NULL THEN 1 ELSE 0 END) = 1 AS has_account,
  max(k.class) AS class, max(k.class_on_node) AS class_on_node
FROM set_member m
JOIN party p ON p.party_id = m.party_id
LEFT JOIN set_class k ON k.set_id = m.set_id
GROUP BY m.set_id
