-- says: Exchanges that a policy denied, whatever the document says of them.
-- reads: edge
-- returns: initiator, responder, port, protocol, verdict, reason, rule_id, outcome, exchanges, first_seen, last_seen, flow_ids
-- one row per: initiator, responder, port, protocol, verdict, reason, outcome
SELECT initiator, responder, port, protocol, verdict, reason, rule_id, outcome, exchanges, first_seen, last_seen, flow_ids
FROM edge
WHERE outcome IN ('blocked', 'blocked_l7')
ORDER BY ALL
