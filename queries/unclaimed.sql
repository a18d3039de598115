-- says: Pods in protected namespaces that answered and belong to no component of the model.
-- reads: edge
-- returns: responder, port, protocol, initiator, outcome, exchanges, first_seen, last_seen, flow_ids
-- one row per: responder, port, protocol, initiator, outcome
SELECT responder, port, protocol, initiator, outcome, exchanges, first_seen, last_seen, flow_ids
FROM edge
WHERE reason = 'unclaimed_workload'
ORDER BY ALL
