-- says: The first exchanges of one edge, named as reports name it.
-- reads: edge
-- params: initiator, responder, port
-- returns: flow_ids
-- one row per: flow_ids
SELECT flow_ids
FROM edge
WHERE initiator = $initiator AND responder = $responder AND port = $port
ORDER BY ALL
