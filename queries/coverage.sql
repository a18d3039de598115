-- says: What was observed: per source, flows, their span, minutes with records, and ends that nobody could identify.
-- reads: flow, asked
-- returns: source, flows, first_seen, last_seen, minutes, reporters, initiators_unknown, responders_unknown, after_snapshot, no_time
-- one row per: source
SELECT source, count(*) AS flows, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
  count(DISTINCT date_trunc('minute', first_seen)) AS minutes,
  count(DISTINCT reporter_name) AS reporters,
  count(CASE WHEN initiator_kind IN ('unknown', 'ambiguous') THEN 1 END) AS initiators_unknown,
  count(CASE WHEN responder_kind IN ('unknown', 'ambiguous') THEN 1 END) AS responders_unknown,
  count(CASE WHEN initiator_identity_basis = 'after_snapshot' OR responder_identity_basis = 'after_snapshot' THEN 1 END)
    AS after_snapshot,
  count(CASE WHEN first_seen IS NULL THEN 1 END) AS no_time
FROM flow CROSS JOIN asked a
WHERE (a.since IS NULL OR last_seen >= a.since) AND (a.until IS NULL OR first_seen < a.until)
GROUP BY source
ORDER BY source
