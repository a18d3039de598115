-- says: Addresses nobody is known to have held, most flows first: which snapshot is missing.
-- reads: flow
-- returns: cluster, address, as_initiator, as_responder, first_seen, last_seen
-- one row per: cluster, address
-- cannot tell: records without an address.
SELECT u.cluster, u.address, CAST(sum(u.as_initiator) AS BIGINT) AS as_initiator,
  CAST(sum(u.as_responder) AS BIGINT) AS as_responder, min(u.first_seen) AS first_seen, max(u.last_seen) AS last_seen
FROM (
  SELECT cluster, initiator_ip AS address, 1 AS as_initiator, 0 AS as_responder, first_seen, last_seen
  FROM flow WHERE initiator_kind = 'unknown' AND initiator_ip IS NOT NULL
  UNION ALL
  SELECT cluster, responder_ip, 0, 1, first_seen, last_seen
  FROM flow WHERE responder_kind = 'unknown' AND responder_ip IS NOT NULL
) u
GROUP BY u.cluster, u.address
ORDER BY sum(u.as_initiator) + sum(u.as_responder) DESC, u.cluster, u.address
