-- says: Exchanges without a firm verdict, and what is missing to decide them.
-- reads: edge
-- returns: reason, initiator, responder, port, protocol, exchanges, flows, first_seen, last_seen, flow_ids, violating
-- one row per: reason, initiator, responder, port, protocol
SELECT reason, initiator, responder, port, protocol, CAST(sum(exchanges) AS BIGINT) AS exchanges,
  CAST(sum(flows) AS BIGINT) AS flows, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
  min(flow_ids) AS flow_ids, CAST(sum(violating) AS BIGINT) AS violating
FROM edge
WHERE verdict = 'unknown'
GROUP BY reason, initiator, responder, port, protocol
ORDER BY ALL
