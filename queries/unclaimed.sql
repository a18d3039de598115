-- says: Pods in protected namespaces that somebody dialled and that belong to no component of the model.
-- reads: edge
-- returns: responder, port, protocol, initiator, outcome, exchanges, first_seen, last_seen, flow_ids
-- one row per: responder, port, protocol, initiator, outcome
-- `flow_ids` names some of them, at most twenty.
SELECT responder, port, protocol, initiator, outcome, CAST(sum(exchanges) AS BIGINT) AS exchanges,
  min(first_seen) AS first_seen, max(last_seen) AS last_seen, min(flow_ids) AS flow_ids
FROM edge
WHERE reason = 'unclaimed_workload'
GROUP BY responder, port, protocol, initiator, outcome
ORDER BY ALL
