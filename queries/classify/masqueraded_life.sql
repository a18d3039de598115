-- says: When each pod that its node may masquerade held an address.
-- reads: holding, set_member, party
-- returns: cluster, node, party_id, masqueraded, masqueraded_to_nodes, address, valid_from, valid_to
-- one row per: cluster, party_id, address, valid_from
SELECT p.cluster, p.node, p.party_id, p.masqueraded, p.masqueraded_to_nodes, h.address, h.valid_from, h.valid_to
FROM holding h
JOIN set_member m ON m.set_id = h.set_id
JOIN party p ON p.party_id = m.party_id
WHERE p.kind = 'pod' AND p.node IS NOT NULL AND NOT coalesce(p.host_network, false) AND coalesce(p.masqueraded, true)
