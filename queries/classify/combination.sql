-- says: The distinct things to judge: who, to whom, on which port, with which protection seen.
-- reads: identified
-- returns: combination, initiator_set, responder_set, protocol, target_port, seen, seen_basis, trusted, has_payload, mesh_mtls, era, may_be_itself
-- one row per: combination
-- Of ends that nothing tells apart the first stands for all; a pod that reached itself stands for those that did.
SELECT combination, min(initiator_set) AS initiator_set, min(responder_set) AS responder_set, protocol, target_port,
  seen, seen_basis, trusted, has_payload, mesh_mtls, era, may_be_itself
FROM identified
WHERE combination IS NOT NULL
GROUP BY combination, protocol, target_port, seen, seen_basis, trusted, has_payload, mesh_mtls, era, may_be_itself
