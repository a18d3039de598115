-- says: The first exchanges of one edge, named as reports name it.
-- reads: edge
-- params: initiator, responder, port, protocol
-- returns: flow_ids, exchanges, initiator, responder, port, protocol
-- one row per: flow_ids
-- Without a protocol every one is meant; a port that is null asks for what has none.
SELECT flow_ids, exchanges, initiator, responder, port, protocol
FROM edge
WHERE initiator = $initiator AND responder = $responder AND port IS NOT DISTINCT FROM CAST($port AS INTEGER)
  AND (CAST($protocol AS VARCHAR) IS NULL OR protocol = $protocol)
ORDER BY ALL
