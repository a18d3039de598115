-- says: Whether a set of holders stands for a node's address, and whether a pod holds the address as its own.
-- reads: set_member, party
-- returns: set_id, has_node, has_pod_address
-- one row per: set_id
-- A node's address towards anything but a pod's own address may hide the pods that the node masquerades.
SELECT m.set_id,
  max(CASE WHEN p.kind = 'node' THEN 1 ELSE 0 END) = 1 AS has_node,
  max(CASE WHEN p.kind = 'pod' AND NOT coalesce(p.host_network, false) THEN 1 ELSE 0 END) = 1 AS has_pod_address
FROM set_member m JOIN party p ON p.party_id = m.party_id
GROUP BY m.set_id
