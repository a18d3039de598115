-- says: What was observed: per source, flows, their span, minutes with records, and ends that nobody could identify.
-- reads: flow, asked, observed
-- returns: source, flows, first_seen, last_seen, minutes, reporters, initiators_unknown, responders_unknown, after_snapshot, no_time
-- one row per: source
WITH minute_sum AS (
  SELECT source, CAST(sum(minute_to - minute_from + 1) AS BIGINT) AS minutes FROM observed GROUP BY source
)
SELECT f.source, count(*) AS flows, min(f.first_seen) AS first_seen,
  max(coalesce(f.last_seen, f.first_seen)) AS last_seen, coalesce(max(m.minutes), 0) AS minutes,
  count(DISTINCT f.reporter_name) AS reporters,
  count(CASE WHEN f.initiator_kind IN ('unknown', 'ambiguous') THEN 1 END) AS initiators_unknown,
  count(CASE WHEN f.responder_kind IN ('unknown', 'ambiguous') THEN 1 END) AS responders_unknown,
  count(CASE WHEN f.initiator_identity_basis = 'after_snapshot' OR f.responder_identity_basis = 'after_snapshot' THEN 1
        END) AS after_snapshot,
  count(CASE WHEN f.first_seen IS NULL THEN 1 END) AS no_time
FROM flow f CROSS JOIN asked a LEFT JOIN minute_sum m ON m.source = f.source
WHERE (a.since IS NULL OR coalesce(f.last_seen, f.first_seen) >= a.since)
  AND (a.until IS NULL OR f.first_seen < a.until)
GROUP BY f.source
ORDER BY f.source
