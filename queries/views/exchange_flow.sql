-- says: Which exchange each flow belongs to, and by which key it was put there.
-- reads: flow, verdict
-- returns: flow_id, exchange_id, joined_by, alone
-- one row per: flow_id
-- cannot tell: two connections of one 5-tuple apart, where a log's window spans both.
-- alone: nothing else was put there. joined_by: `wire`, the whole 5-tuple, whichever way round; `window`, the two ends' reports of one Calico window whose
-- initiator port was aggregated away; `none`, an exchange of its own: without a time, a port, an address, or off the wire.
-- Calico aggregates what is allowed further than what is denied: a denial with addresses also joins, by window, what the
-- initiator's end allowed under the beginnings of names alone, if nobody answered it. And the other way round.
WITH judged AS (
  SELECT f.flow_id, f.source, f.reporter, f.action, f.first_seen, coalesce(f.last_seen, f.first_seen) AS last_seen,
    f.packets_received, f.cluster, f.protocol, f.responder_port,
    f.initiator_ip || ' ' || CAST(f.initiator_port AS VARCHAR) AS initiator_end,
    f.responder_ip || ' ' || CAST(f.responder_port AS VARCHAR) AS responder_end,
    coalesce(f.initiator_ip, '-') || ' ' || coalesce(f.initiator_named_kind, '-') || ' '
      || coalesce(f.initiator_named_namespace, '-') || ' ' || coalesce(f.initiator_named_name, '-') || ' '
      || coalesce(f.initiator_named_name_prefix, '-') AS initiator_naming,
    coalesce(f.responder_ip, '-') || ' ' || coalesce(f.responder_named_kind, '-') || ' '
      || coalesce(f.responder_named_namespace, '-') || ' ' || coalesce(f.responder_named_name, '-') || ' '
      || coalesce(f.responder_named_name_prefix, '-') AS responder_naming,
    coalesce(f.initiator_named_kind, '-') || ' ' || coalesce(f.initiator_named_namespace, '-') || ' '
      || coalesce(f.initiator_named_name_prefix, f.initiator_named_name) || ' '
      || coalesce(f.responder_named_kind, '-') || ' ' || coalesce(f.responder_named_namespace, '-') || ' '
      || coalesce(f.responder_named_name_prefix, f.responder_named_name) AS aggregated_naming,
    CASE WHEN f.initiator_ip IS NULL AND f.responder_ip IS NULL THEN 'names'
         WHEN f.initiator_ip IS NOT NULL AND f.responder_ip IS NOT NULL THEN 'addresses' END AS told_by,
    coalesce(f.initiator_ip, f.initiator_named_name, f.initiator_named_name_prefix) IS NOT NULL
      AND coalesce(f.responder_ip, f.responder_named_name, f.responder_named_name_prefix) IS NOT NULL AS named,
    v.reason IN ('loopback', 'pod_internal', 'tunnel_unreadable') AS off_wire,
    v.verdict || ' ' || v.reason || ' ' || coalesce(v.rule_id, '-') || ' ' || coalesce(v.transport_status, '-') AS judgement
  FROM flow f
  JOIN verdict v ON v.flow_id = f.flow_id
), sorted AS (
  SELECT j.*,
    CASE WHEN j.first_seen IS NULL OR j.protocol IS NULL OR j.off_wire THEN 'none'
         WHEN j.initiator_end IS NOT NULL AND j.responder_end IS NOT NULL THEN 'wire'
         -- What the initiator's end denied, the responder's never saw.
         WHEN j.source = 'calico' AND j.named
           AND (j.reporter = 'responder' OR (j.reporter = 'initiator' AND j.action = 'allowed')) THEN 'window'
         ELSE 'none' END AS joined_by
  FROM judged j
), keyed AS (
  SELECT s.flow_id, s.reporter, s.joined_by,
    -- Windows of the two ends are not cut at the same second. The middle halves of two windows of one reporter never
    -- meet; those of the two ends meet when most of the windows do.
    CASE WHEN s.joined_by = 'window' THEN s.first_seen + (s.last_seen - s.first_seen) / 4 ELSE s.first_seen END AS since,
    -- Logs are coarser than packets: Envoy and ztunnel cut to milliseconds, Calico to seconds. A Hubble event is one
    -- packet, and packets of one 5-tuple are one flow until none came for two minutes.
    CASE WHEN s.joined_by = 'window' THEN s.last_seen - (s.last_seen - s.first_seen) / 4
         WHEN s.source IN ('envoy', 'ztunnel') THEN s.last_seen + INTERVAL '2' MILLISECOND
         WHEN s.source = 'hubble' THEN s.last_seen + INTERVAL '120' SECOND
         WHEN s.source = 'calico' THEN s.last_seen + INTERVAL '1' SECOND
         ELSE s.last_seen END AS until,
    CASE s.joined_by
      WHEN 'wire' THEN s.cluster || ' ' || s.protocol || ' ' || least(s.initiator_end, s.responder_end) || ' '
        || greatest(s.initiator_end, s.responder_end)
      -- An initiator's row joins a denial only if nothing was answered; rows judged differently never join.
      WHEN 'window' THEN s.cluster || ' ' || s.protocol || ' ' || s.initiator_naming || ' ' || s.responder_naming || ' '
        || coalesce(CAST(s.responder_port AS VARCHAR), '-') || ' ' || s.judgement || ' '
        || CASE WHEN s.action = 'denied' OR s.packets_received = 0 THEN 'unanswered'
                WHEN s.packets_received > 0 THEN 'answered' ELSE 'unsaid' END
      ELSE s.flow_id END AS tuple,
    -- What an initiator's row and a denial share where only one of them still has addresses; last, whose is without.
    CASE WHEN s.joined_by = 'window' AND (s.action = 'denied' OR s.packets_received = 0)
           AND (s.reporter = 'initiator' OR s.action = 'denied')
         THEN s.cluster || ' ' || s.protocol || ' ' || s.aggregated_naming || ' '
           || coalesce(CAST(s.responder_port AS VARCHAR), '-') || ' ' || s.judgement
           || CASE WHEN (s.told_by = 'names') = (s.reporter = 'initiator') THEN ' initiator' WHEN s.told_by IS NOT NULL
                   THEN ' responder' END END AS aggregated
  FROM sorted s
), begun AS (
  SELECT k.flow_id, k.reporter, k.joined_by, k.tuple, k.aggregated, k.since, k.until,
    CASE WHEN k.since <= max(k.until) OVER (PARTITION BY k.joined_by, k.tuple ORDER BY k.since NULLS LAST, k.flow_id
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
         THEN 0 ELSE 1 END AS begins
  FROM keyed k
), counted AS (
  SELECT b.flow_id, b.reporter, b.joined_by, b.tuple, b.aggregated, b.since, b.until,
    sum(b.begins) OVER (PARTITION BY b.joined_by, b.tuple ORDER BY b.since NULLS LAST, b.flow_id) AS nth
  FROM begun b
), seated AS (
  -- Several nodes report under one name: each report of one end is an exchange, the other end's are dealt out to them.
  SELECT c.flow_id, c.reporter, c.joined_by, c.tuple, c.aggregated, c.since, c.until, c.nth,
    CASE WHEN c.joined_by = 'window' THEN row_number() OVER (
      PARTITION BY c.joined_by, c.tuple, c.nth, c.reporter ORDER BY c.since NULLS LAST, c.flow_id) ELSE 1 END AS seat
  FROM counted c
), met AS (
  SELECT t.flow_id, t.reporter, t.joined_by, t.since, t.until,
    min(t.flow_id) OVER (PARTITION BY t.joined_by, t.tuple, t.nth, t.seat) AS exchange_id,
    count(*) OVER (PARTITION BY t.joined_by, t.tuple, t.nth, t.seat) = 1 AS alone,
    CASE WHEN count(*) OVER (PARTITION BY t.joined_by, t.tuple, t.nth, t.seat) = 1 THEN t.aggregated END AS aggregated
  FROM seated t
), unmet AS (
  SELECT m.flow_id, m.reporter, m.aggregated, m.since,
    CASE WHEN m.since <= max(m.until) OVER (PARTITION BY m.aggregated ORDER BY m.since NULLS LAST, m.flow_id
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
         THEN 0 ELSE 1 END AS begins
  FROM met m WHERE m.aggregated IS NOT NULL
), numbered AS (
  SELECT a.flow_id, a.reporter, a.aggregated, a.since,
    sum(a.begins) OVER (PARTITION BY a.aggregated ORDER BY a.since NULLS LAST, a.flow_id) AS nth
  FROM unmet a
), dealt AS (
  SELECT n.flow_id, n.aggregated, n.nth,
    row_number() OVER (PARTITION BY n.aggregated, n.nth, n.reporter ORDER BY n.since NULLS LAST, n.flow_id) AS seat
  FROM numbered n
), paired AS (
  SELECT d.flow_id, min(d.flow_id) OVER (PARTITION BY d.aggregated, d.nth, d.seat) AS exchange_id,
    count(*) OVER (PARTITION BY d.aggregated, d.nth, d.seat) = 1 AS alone
  FROM dealt d
)
SELECT m.flow_id, coalesce(p.exchange_id, m.exchange_id) AS exchange_id, m.joined_by,
  m.alone AND coalesce(p.alone, true) AS alone
FROM met m
LEFT JOIN paired p ON p.flow_id = m.flow_id
