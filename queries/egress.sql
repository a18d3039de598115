-- says: What components reached that the model does not describe.
-- reads: edge
-- returns: initiator, responder, port, protocol, transport, outcome, exchanges, bytes, first_seen, last_seen, flow_ids
-- one row per: initiator, responder, port, protocol, transport, outcome
SELECT initiator, responder, port, protocol, transport, outcome, exchanges, bytes, first_seen, last_seen, flow_ids
FROM edge
WHERE reason IN ('egress_unmodelled', 'egress_not_allowed')
ORDER BY ALL
