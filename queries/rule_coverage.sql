-- says: For each rule: seen, not seen though it could have been, or not observable from where was recorded, and why.
-- reads: rule, rule_grant, component, exchange, flow, vantage, asked, candidate_term, candidate, party, party_capture, set_member, set_life
-- returns: rule_id, kind, coverage, why, exchanges, first_seen, last_seen, sources, vantages, transport_vantages
-- one row per: rule_id
-- cannot tell: ports that an initiator's own proxy leaves alone, capture filters, and pods of an end whose proxies were not given.
-- A proxy reports for its pod, and only for ports its sidecar captures; Calico and Hubble for the pods of the nodes they
-- report from; a tap for two ends it saw talk. Whatever was asked besides the time does not change what could be seen.
WITH heard AS (
  SELECT x.initiator_kind || ' ' || coalesce(x.initiator_namespace, '-') || ' ' || coalesce(x.initiator_workload, '-')
      || ' ' || coalesce(x.initiator_component, '-') AS initiator,
    x.responder_kind || ' ' || coalesce(x.responder_namespace, '-') || ' ' || coalesce(x.responder_workload, '-')
      || ' ' || coalesce(x.responder_component, '-') AS responder,
    x.cluster, x.initiator_kind, x.initiator_namespace, x.initiator_workload, x.initiator_component, x.responder_kind,
    x.responder_namespace, x.responder_workload, x.responder_component, x.protocol, x.target_port, x.rule_id,
    x.exchange_verdict, x.sources, x.first_seen, x.last_seen
  FROM exchange x CROSS JOIN asked a
  WHERE (a.since IS NULL OR x.last_seen >= a.since) AND (a.until IS NULL OR x.first_seen < a.until)
), end_seen AS (
  SELECT cluster, initiator AS name, initiator_kind AS kind, initiator_namespace AS namespace,
    initiator_workload AS workload, initiator_component AS component FROM heard
  UNION
  SELECT cluster, responder, responder_kind, responder_namespace, responder_workload, responder_component FROM heard
), in_mesh AS (
  SELECT cluster, initiator_namespace AS namespace, initiator_workload AS workload FROM flow WHERE initiator_in_mesh
  UNION
  SELECT cluster, responder_namespace, responder_workload FROM flow WHERE responder_in_mesh
), end_term AS (
  SELECT name, 'any' AS term FROM end_seen WHERE kind <> 'unknown'
  UNION SELECT name, 'component:' || component FROM end_seen WHERE component IS NOT NULL
  UNION SELECT name, component FROM end_seen WHERE kind = 'external' AND component LIKE 'range:%'
  UNION SELECT name, 'range:' || component FROM end_seen WHERE kind = 'external' AND component IS NOT NULL
  UNION SELECT name, 'namespace:' || namespace FROM end_seen WHERE kind = 'pod' AND namespace IS NOT NULL
  UNION SELECT name, kind FROM end_seen WHERE kind IN ('pod', 'node', 'api_server', 'external', 'link_local')
  UNION SELECT name, 'own_node' FROM end_seen WHERE kind = 'node'
  UNION SELECT e.name, 'mesh' FROM end_seen e JOIN in_mesh m ON m.cluster = e.cluster AND m.namespace = e.namespace
    AND m.workload = e.workload
  UNION SELECT e.name, 'sidecar' FROM end_seen e JOIN in_mesh m ON m.cluster = e.cluster AND m.namespace = e.namespace
    AND m.workload = e.workload
    ANTI JOIN component k ON k.component = e.component AND k.mesh = 'gateway'
), pair AS (
  -- What was said between ends that a rule speaks of, either way round, on its ports or on others.
  SELECT g.rule_id, h.rule_id AS counted_for, h.exchange_verdict, h.sources,
    (g.protocol IS NULL OR g.protocol = h.protocol) AND h.target_port IS NOT NULL AND g.port_class IS NULL
      AND (g.port_lo IS NULL OR h.target_port BETWEEN g.port_lo AND g.port_hi) AND NOT h.turned AS fits
  FROM rule_grant g
  JOIN end_term i ON i.term = g.from_term
  JOIN end_term r ON r.term = g.to_term
  JOIN (
    SELECT DISTINCT initiator, responder, protocol, target_port, rule_id, exchange_verdict, sources, false AS turned FROM heard
    UNION ALL
    SELECT DISTINCT responder, initiator, protocol, target_port, rule_id, exchange_verdict, sources, true FROM heard
  ) h ON h.initiator = i.name AND h.responder = r.name
), open_end AS (
  -- Undecided exchanges that may have been the rule's: one end is its, the other nobody can name; or the port is not told.
  SELECT DISTINCT g.rule_id
  FROM rule_grant g
  JOIN end_term t ON t.term = g.to_term
  JOIN heard h ON h.responder = t.name
  WHERE h.exchange_verdict = 'unknown' AND (g.protocol IS NULL OR h.protocol IS NULL OR g.protocol = h.protocol)
    AND (g.port_lo IS NULL OR h.target_port IS NULL OR h.target_port BETWEEN g.port_lo AND g.port_hi)
  UNION
  SELECT DISTINCT g.rule_id
  FROM rule_grant g
  JOIN end_term t ON t.term = g.from_term
  JOIN heard h ON h.initiator = t.name
  WHERE h.exchange_verdict = 'unknown' AND (g.protocol IS NULL OR h.protocol IS NULL OR g.protocol = h.protocol)
    AND (g.port_lo IS NULL OR h.target_port IS NULL OR h.target_port BETWEEN g.port_lo AND g.port_hi)
), watched AS (
  SELECT v.source, v.reporter, t.term, max(CASE WHEN v.tells_transport THEN 1 ELSE 0 END) AS tells
  FROM vantage v
  JOIN (
    SELECT cluster, namespace, workload, kind, component, 'component:' || component AS term FROM vantage
    UNION SELECT cluster, namespace, workload, kind, component, 'namespace:' || namespace FROM vantage WHERE kind = 'pod'
    UNION SELECT cluster, namespace, workload, kind, component, kind FROM vantage
    UNION SELECT cluster, namespace, workload, kind, component, 'mesh' FROM vantage WHERE in_mesh
    UNION SELECT s.cluster, s.namespace, s.workload, s.kind, s.component, 'sidecar'
      FROM vantage s ANTI JOIN component k ON k.component = s.component AND k.mesh = 'gateway' WHERE s.in_mesh
    UNION SELECT cluster, namespace, workload, kind, component, 'any' FROM vantage
    UNION SELECT cluster, namespace, workload, kind, component, 'own_node' FROM vantage WHERE kind = 'node'
  ) t ON t.cluster = v.cluster AND t.kind = v.kind AND coalesce(t.namespace, '-') = coalesce(v.namespace, '-')
    AND coalesce(t.workload, '-') = coalesce(v.workload, '-') AND coalesce(t.component, '-') = coalesce(v.component, '-')
  WHERE t.term IS NOT NULL
  GROUP BY v.source, v.reporter, t.term
), lived AS (
  SELECT DISTINCT m.party_id
  FROM set_member m JOIN set_life l ON l.set_id = m.set_id CROSS JOIN asked a
  WHERE (a.since IS NULL OR l.until > a.since) AND (a.until IS NULL OR l.since < a.until)
), there AS (
  SELECT DISTINCT t.term FROM candidate_term t JOIN lived l ON l.party_id = t.party_id
  UNION SELECT term FROM candidate_term WHERE term IN ('external', 'any', 'link_local') OR term LIKE 'range:%'
), on_node AS (
  SELECT DISTINCT v.source, t.term
  FROM (
    SELECT DISTINCT source, cluster, node FROM vantage
    WHERE source IN ('calico', 'hubble') AND reporter IN ('initiator', 'responder') AND kind = 'pod'
  ) v
  JOIN party p ON p.cluster = v.cluster AND p.node = v.node
  JOIN lived l ON l.party_id = p.party_id
  JOIN candidate_term t ON t.party_id = p.party_id
  WHERE p.kind = 'pod' AND NOT coalesce(p.host_network, false)
), captured AS (
  SELECT DISTINCT t.term, c.port_lo, c.port_hi
  FROM party_capture c
  JOIN party p ON p.profile = c.profile
  JOIN lived l ON l.party_id = p.party_id
  JOIN candidate_term t ON t.party_id = p.party_id
), sighted AS (
  SELECT g.rule_id, w.source, w.tells, 1 AS certain, 0 AS hidden
  FROM rule_grant g JOIN watched w ON w.term = g.from_term
  WHERE w.reporter = 'initiator' AND (w.source NOT IN ('envoy', 'ztunnel') OR coalesce(g.protocol, 'tcp') = 'tcp')
  UNION ALL
  SELECT g.rule_id, w.source, w.tells, 1, 0
  FROM rule_grant g JOIN watched w ON w.term = g.to_term
  WHERE w.reporter = 'responder' AND w.source NOT IN ('envoy', 'ztunnel')
  UNION ALL
  SELECT g.rule_id, w.source, w.tells, CASE WHEN c.term IS NULL THEN 0 ELSE 1 END, CASE WHEN c.term IS NULL THEN 1 ELSE 0 END
  FROM rule_grant g JOIN watched w ON w.term = g.to_term
  LEFT JOIN captured c ON c.term = g.to_term AND c.port_lo <= coalesce(g.port_hi, 65535) AND c.port_hi >= coalesce(g.port_lo, 0)
  WHERE w.reporter = 'responder' AND w.source IN ('envoy', 'ztunnel') AND coalesce(g.protocol, 'tcp') = 'tcp'
  UNION ALL
  SELECT g.rule_id, n.source, 0, 1, 0 FROM rule_grant g JOIN on_node n ON n.term = g.from_term OR n.term = g.to_term
  UNION ALL
  SELECT g.rule_id, w.source, w.tells, 0, 0
  FROM rule_grant g JOIN watched w ON w.term = g.from_term OR w.term = g.to_term
  WHERE w.reporter = 'tap' AND w.term <> 'any'
  UNION ALL
  SELECT p.rule_id, CASE WHEN p.sources LIKE '%pcap%' THEN 'pcap' ELSE 'zeek' END, 1, 1, 0
  FROM pair p WHERE p.sources LIKE '%pcap%' OR p.sources LIKE '%zeek%'
), vantages AS (
  SELECT s.rule_id, max(s.certain) AS certain, max(s.hidden) AS hidden, max(1 - s.certain - s.hidden) AS perhaps,
    listagg(DISTINCT s.sure, ',' ORDER BY s.sure) AS vantages,
    listagg(DISTINCT s.telling, ',' ORDER BY s.telling) AS transport_vantages
  FROM (
    SELECT rule_id, certain, hidden, CASE WHEN certain = 1 THEN source END AS sure,
      CASE WHEN certain = 1 AND tells = 1 THEN source END AS telling
    FROM sighted
  ) s
  GROUP BY s.rule_id
), both_there AS (
  SELECT DISTINCT g.rule_id
  FROM rule_grant g JOIN there i ON i.term = CASE WHEN g.from_term = 'own_node' THEN 'node' ELSE g.from_term END
  JOIN there r ON r.term = g.to_term
), counted AS (
  SELECT h.rule_id, count(*) AS exchanges, min(h.first_seen) AS first_seen, max(h.last_seen) AS last_seen,
    substr(max(CASE WHEN h.sources LIKE '%calico%' THEN ',calico' ELSE '' END)
      || max(CASE WHEN h.sources LIKE '%envoy%' THEN ',envoy' ELSE '' END)
      || max(CASE WHEN h.sources LIKE '%hubble%' THEN ',hubble' ELSE '' END)
      || max(CASE WHEN h.sources LIKE '%pcap%' THEN ',pcap' ELSE '' END)
      || max(CASE WHEN h.sources LIKE '%zeek%' THEN ',zeek' ELSE '' END)
      || max(CASE WHEN h.sources LIKE '%ztunnel%' THEN ',ztunnel' ELSE '' END), 2) AS sources
  FROM heard h WHERE h.rule_id IS NOT NULL
  GROUP BY h.rule_id
), shadowed AS (
  SELECT DISTINCT p.rule_id FROM pair p WHERE p.fits AND p.exchange_verdict <> 'unknown' AND p.counted_for <> p.rule_id
), placed AS (
  SELECT u.rule_id, u.kind, coalesce(c.exchanges, 0) AS exchanges, c.first_seen, c.last_seen, c.sources,
    v.vantages, v.transport_vantages,
    CASE WHEN c.rule_id IS NOT NULL THEN 'seen'
         WHEN s.rule_id IS NOT NULL THEN 'shadowed'
         WHEN b.rule_id IS NULL THEN 'not_observable'
         WHEN o.rule_id IS NOT NULL THEN 'uncertain'
         WHEN v.certain = 1 THEN 'not_seen'
         WHEN v.perhaps = 1 THEN 'uncertain'
         ELSE 'not_observable' END AS coverage,
    CASE WHEN c.rule_id IS NOT NULL OR s.rule_id IS NOT NULL THEN NULL
         WHEN b.rule_id IS NULL THEN 'nobody_there'
         WHEN o.rule_id IS NOT NULL THEN 'undecided_exchange'
         WHEN v.certain = 1 THEN NULL
         WHEN v.perhaps = 1 THEN 'tap_place'
         WHEN v.hidden = 1 THEN 'port_not_captured'
         ELSE 'no_vantage' END AS why
  FROM rule u
  LEFT JOIN counted c ON c.rule_id = u.rule_id
  LEFT JOIN shadowed s ON s.rule_id = u.rule_id
  LEFT JOIN both_there b ON b.rule_id = u.rule_id
  LEFT JOIN open_end o ON o.rule_id = u.rule_id
  LEFT JOIN vantages v ON v.rule_id = u.rule_id
)
SELECT p.rule_id, p.kind, p.coverage, p.why, p.exchanges, p.first_seen, p.last_seen, p.sources,
  CASE WHEN p.coverage <> 'not_observable' THEN p.vantages END AS vantages,
  CASE WHEN p.coverage <> 'not_observable' THEN p.transport_vantages END AS transport_vantages
FROM placed p
ORDER BY p.rule_id
