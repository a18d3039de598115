-- says: Addresses nobody is known to have held, most flows first, and between which two listings of pods: one is missing.
-- reads: flow, asked, pods_listed
-- returns: cluster, address, as_initiator, as_responder, first_seen, last_seen, known_before, listed_after
-- one row per: cluster, address
-- cannot tell: records without an address, and records without a time, whose holder nobody can look up.
-- known_before is the newest moment up to first_seen at which all pods were known, listed_after the next listing.
WITH unresolved AS (
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
)
SELECT u.cluster, u.address, u.as_initiator, u.as_responder, u.first_seen, u.last_seen,
  max(CASE WHEN l.known_until < u.first_seen THEN l.known_until
           WHEN l.listed_at <= u.first_seen THEN u.first_seen END) AS known_before,
  min(CASE WHEN l.listed_at > u.first_seen THEN l.listed_at END) AS listed_after
FROM unresolved u LEFT JOIN pods_listed l ON l.cluster = u.cluster
GROUP BY u.cluster, u.address, u.as_initiator, u.as_responder, u.first_seen, u.last_seen
ORDER BY u.as_initiator + u.as_responder DESC, u.cluster, u.address
