-- says: Addresses nobody is known to have held, most flows first: which snapshot is missing.
-- reads: flow, asked
-- returns: cluster, address, as_initiator, as_responder, first_seen, last_seen
-- one row per: cluster, address
-- cannot tell: records without an address, and records without a time, whose holder nobody can look up.
SELECT u.cluster, u.address, CAST(sum(u.as_initiator) AS BIGINT) AS as_initiator,
  CAST(sum(u.as_responder) AS BIGINT) AS as_responder, min(u.first_seen) AS first_seen, max(u.last_seen) AS last_seen
FROM (
  SELECT cluster, initiator_ip AS address, 1 AS as_initiator, 0 AS as_responder, first_seen,
    coalesce(last_seen, first_seen) AS last_seen
  FROM flow WHERE initiator_kind = 'unknown' AND initiator_ip IS NOT NULL AND first_seen IS NOT NULL
  UNION ALL
  SELECT cluster, responder_ip, 0, 1, first_seen, coalesce(last_seen, first_seen)
  FROM flow WHERE responder_kind = 'unknown' AND responder_ip IS NOT NULL AND first_seen IS NOT NULL
) u CROSS JOIN asked a
WHERE (a.since IS NULL OR u.last_seen >= a.since) AND (a.until IS NULL OR u.first_seen < a.until)
GROUP BY u.cluster, u.address
ORDER BY sum(u.as_initiator) + sum(u.as_responder) DESC, u.cluster, u.address
