-- says: What components reached that the model does not describe.
-- reads: edge
-- returns: initiator, responder, port, protocol, transport, outcome, exchanges, bytes, first_seen, last_seen, flow_ids
-- one row per: initiator, responder, port, protocol, transport, outcome
-- `flow_ids` names some of them, at most twenty.
SELECT initiator, responder, port, protocol, transport, outcome, CAST(sum(exchanges) AS BIGINT) AS exchanges,
  CAST(sum(bytes) AS BIGINT) AS bytes, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
  min(flow_ids) AS flow_ids
FROM edge
WHERE reason IN ('egress_unmodelled', 'egress_not_allowed')
GROUP BY initiator, responder, port, protocol, transport, outcome
ORDER BY ALL
