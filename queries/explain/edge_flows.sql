-- says: The first exchanges of one edge, named as reports name it.
-- reads: edge
-- params: initiator, responder, port, protocol
-- returns: flow_ids, exchanges, verdict, initiator, responder, port, protocol
-- one row per: flow_ids
-- The worst verdict comes first. Without a protocol every one is meant; a port that is null asks for what has none.
SELECT flow_ids, exchanges, verdict, initiator, responder, port, protocol
FROM edge
WHERE initiator = $initiator AND responder = $responder AND port IS NOT DISTINCT FROM CAST($port AS INTEGER)
  AND (CAST($protocol AS VARCHAR) IS NULL OR protocol = $protocol)
ORDER BY CASE verdict WHEN 'plaintext' THEN 0 WHEN 'unexpected' THEN 1 WHEN 'unknown' THEN 2 ELSE 3 END, verdict, flow_ids
