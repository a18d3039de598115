-- says: For each workload with a sidecar: whether STRICT mTLS would refuse nobody seen in the window, and what speaks against it.
-- reads: exchange, exchange_flow, flow, asked, party, party_capture, party_component, rule, rule_grant, set_member, set_life
-- params: min_minutes=1440
-- returns: cluster, namespace, workload, component, readiness, exchanges, mutual_proven, mutual_inferred, unverified, not_mutual, plaintext, minutes, origins, blockers, absent_clients, excluded_ports, first_seen, last_seen
-- one row per: cluster, namespace, workload, component
-- cannot tell: clients whose exchanges were not observed; clients outside of the mesh whose one-way TLS looks like the mesh's own.
-- Only TCP on ports the sidecar captures counts: STRICT binds nothing else. What was denied, refused or not answered does
-- not count unless it proves a client without mTLS; what carried no payload (a probe that only connects) never does.
-- `minutes` lie between the first and the last exchange, both counted.
WITH lived AS (
  SELECT DISTINCT m.party_id
  FROM set_member m JOIN set_life l ON l.set_id = m.set_id CROSS JOIN asked a
  WHERE (a.since IS NULL OR l.until > a.since) AND (a.until IS NULL OR l.since < a.until)
), member AS (
  SELECT p.cluster, p.namespace, p.workload, min(k.component) AS component
  FROM party p JOIN lived l ON l.party_id = p.party_id LEFT JOIN party_component k ON k.party_id = p.party_id
  WHERE p.kind = 'pod' AND p.workload IS NOT NULL AND p.profile IN (SELECT profile FROM party_capture)
  GROUP BY p.cluster, p.namespace, p.workload
), claim AS (
  -- Every component of a workload: a version of a service may be one beside the service.
  SELECT DISTINCT p.cluster, p.namespace, p.workload, k.component
  FROM party p JOIN lived l ON l.party_id = p.party_id JOIN party_component k ON k.party_id = p.party_id
), captured AS (
  SELECT DISTINCT p.cluster, p.namespace, p.workload, c.port_lo, c.port_hi
  FROM party p JOIN lived l ON l.party_id = p.party_id JOIN party_capture c ON c.profile = p.profile
), witness AS (
  SELECT e.exchange_id, max(CASE WHEN f.transport = 'mtls' AND f.transport_grade = 'proven' THEN 1 ELSE 0 END) AS proven,
    max(CASE WHEN f.transport = 'tls' AND f.transport_basis IN ('certificate_withheld', 'peer_empty') THEN 1 ELSE 0 END)
      AS one_way,
    max(CASE WHEN f.transport = 'plaintext' THEN 1 ELSE 0 END) AS clear,
    max(CASE WHEN f.transport = 'mtls' AND f.evidence_origin = 'tap' THEN 1 ELSE 0 END) AS by_tap,
    max(CASE WHEN f.transport = 'mtls' AND f.evidence_origin = 'responder_proxy' THEN 1 ELSE 0 END) AS by_responder,
    max(CASE WHEN f.transport = 'mtls' AND f.evidence_origin = 'initiator_proxy' THEN 1 ELSE 0 END) AS by_initiator,
    max(CASE WHEN f.transport = 'mtls' AND f.evidence_origin = 'log' THEN 1 ELSE 0 END) AS by_log
  FROM exchange_flow e JOIN flow f ON f.flow_id = e.flow_id
  GROUP BY e.exchange_id
), inbound AS (
  SELECT m.cluster, m.namespace, m.workload, x.exchange_id, x.first_seen, x.last_seen, x.target_port,
    x.initiator_namespace, x.initiator_workload, x.initiator_component,
    CASE WHEN x.initiator_workload IS NOT NULL THEN coalesce(x.initiator_namespace || '/', '') || x.initiator_workload
         ELSE x.initiator_kind || coalesce(' ' || x.initiator_ip, '') END AS initiator,
    w.by_tap, w.by_responder, w.by_initiator, w.by_log,
    CASE WHEN c.port_lo IS NULL THEN CASE WHEN x.target_port IS NULL THEN 'unverified' ELSE 'excluded' END
         WHEN w.clear = 1 THEN 'plaintext'
         WHEN w.one_way = 1 THEN 'not_mutual'
         WHEN x.transport = 'mtls' AND x.transport_status <> 'disputed' AND w.proven = 1 THEN 'proven'
         WHEN x.transport = 'mtls' AND x.transport_status <> 'disputed' THEN 'inferred'
         ELSE 'unverified' END AS how
  FROM exchange x CROSS JOIN asked a
  JOIN member m ON m.cluster = x.cluster AND m.namespace = x.responder_namespace AND m.workload = x.responder_workload
  JOIN witness w ON w.exchange_id = x.exchange_id
  LEFT JOIN captured c ON c.cluster = m.cluster AND c.namespace = m.namespace AND c.workload = m.workload
    AND x.target_port BETWEEN c.port_lo AND c.port_hi
  WHERE x.protocol = 'tcp' AND x.transport <> 'none'
    AND (x.outcome NOT IN ('blocked', 'attempted', 'refused') OR (x.outcome = 'refused' AND w.clear + w.one_way > 0)) AND (x.exchange_verdict <> 'out_of_scope' OR x.reason = 'foreign')
    AND (a.since IS NULL OR x.last_seen >= a.since) AND (a.until IS NULL OR x.first_seen < a.until)
), against AS (
  SELECT i.cluster, i.namespace, i.workload, i.initiator || ':' || coalesce(CAST(i.target_port AS VARCHAR), '-') || ' '
      || i.how AS edge, row_number() OVER (PARTITION BY i.cluster, i.namespace, i.workload
      ORDER BY min(CASE i.how WHEN 'plaintext' THEN 0 WHEN 'not_mutual' THEN 1 ELSE 2 END), i.initiator, i.target_port) AS place
  FROM inbound i WHERE i.how IN ('plaintext', 'not_mutual', 'unverified')
  GROUP BY i.cluster, i.namespace, i.workload, i.initiator, i.target_port, i.how
), blocker AS (
  SELECT b.cluster, b.namespace, b.workload, listagg(b.edge, '; ' ORDER BY b.place) AS blockers
  FROM against b WHERE b.place <= 20 GROUP BY b.cluster, b.namespace, b.workload
), seen AS (
  SELECT i.cluster, i.namespace, i.workload, i.target_port, i.initiator_component AS component FROM inbound i
  UNION
  SELECT i.cluster, i.namespace, i.workload, i.target_port, k.component
  FROM inbound i
  JOIN claim k ON k.cluster = i.cluster AND k.namespace = i.initiator_namespace AND k.workload = i.initiator_workload
), client AS (
  SELECT DISTINCT m.cluster, m.namespace, m.workload,
    substr(g.from_term, 11) || ':' || coalesce(CAST(g.port_lo AS VARCHAR), 'any') || ' ' || g.rule_id AS client
  FROM member m
  JOIN claim k ON k.cluster = m.cluster AND k.namespace = m.namespace AND k.workload = m.workload
  JOIN rule_grant g ON g.to_term = 'component:' || k.component AND g.from_term LIKE 'component:%'
    AND coalesce(g.protocol, 'tcp') = 'tcp'
  JOIN rule u ON u.rule_id = g.rule_id AND u.kind = 'documented' AND u.revoked_by IS NULL
  LEFT JOIN captured c ON c.cluster = m.cluster AND c.namespace = m.namespace AND c.workload = m.workload
    AND c.port_lo <= coalesce(g.port_hi, 65535) AND c.port_hi >= coalesce(g.port_lo, 0)
  LEFT JOIN seen i ON i.cluster = m.cluster AND i.namespace = m.namespace AND i.workload = m.workload
    AND 'component:' || i.component = g.from_term
    AND (g.port_lo IS NULL OR i.target_port BETWEEN g.port_lo AND g.port_hi)
  WHERE i.cluster IS NULL AND c.port_lo IS NOT NULL
), absent AS (
  SELECT c.cluster, c.namespace, c.workload, listagg(c.client, '; ' ORDER BY c.client) AS absent_clients
  FROM client c GROUP BY c.cluster, c.namespace, c.workload
), excluded AS (
  SELECT i.cluster, i.namespace, i.workload, listagg(DISTINCT i.target_port, ', ' ORDER BY i.target_port) AS excluded_ports
  FROM inbound i WHERE i.how = 'excluded' GROUP BY i.cluster, i.namespace, i.workload
), summed AS (
  SELECT m.cluster, m.namespace, m.workload, m.component, count(i.exchange_id) AS exchanges,
    count(CASE WHEN i.how = 'proven' THEN 1 END) AS mutual_proven,
    count(CASE WHEN i.how = 'inferred' THEN 1 END) AS mutual_inferred,
    count(CASE WHEN i.how = 'unverified' THEN 1 END) AS unverified,
    count(CASE WHEN i.how = 'not_mutual' THEN 1 END) AS not_mutual,
    count(CASE WHEN i.how = 'plaintext' THEN 1 END) AS plaintext,
    CAST(coalesce(floor(epoch(max(i.last_seen)) / 60) - floor(epoch(min(i.first_seen)) / 60) + 1, 0) AS BIGINT) AS minutes,
    substr(max(CASE WHEN i.by_initiator = 1 THEN ',initiator_proxy' ELSE '' END)
      || max(CASE WHEN i.by_log = 1 THEN ',log' ELSE '' END)
      || max(CASE WHEN i.by_responder = 1 THEN ',responder_proxy' ELSE '' END)
      || max(CASE WHEN i.by_tap = 1 THEN ',tap' ELSE '' END), 2) AS origins,
    min(i.first_seen) AS first_seen, max(i.last_seen) AS last_seen
  FROM member m
  LEFT JOIN inbound i ON i.cluster = m.cluster AND i.namespace = m.namespace AND i.workload = m.workload
    AND i.how <> 'excluded'
  GROUP BY m.cluster, m.namespace, m.workload, m.component
)
SELECT s.cluster, s.namespace, s.workload, s.component,
  CASE WHEN s.exchanges = 0 THEN 'not_seen'
       WHEN s.plaintext + s.not_mutual > 0 THEN 'blocked'
       WHEN s.unverified > 0 THEN 'unproven'
       WHEN s.minutes < $min_minutes THEN 'too_short'
       WHEN c.absent_clients IS NOT NULL THEN 'clients_not_seen'
       ELSE 'ready' END AS readiness,
  s.exchanges, s.mutual_proven, s.mutual_inferred, s.unverified, s.not_mutual, s.plaintext, s.minutes,
  CASE WHEN s.origins <> '' THEN s.origins END AS origins, b.blockers, c.absent_clients, e.excluded_ports,
  s.first_seen, s.last_seen
FROM summed s
LEFT JOIN blocker b ON b.cluster = s.cluster AND b.namespace = s.namespace AND b.workload = s.workload
LEFT JOIN absent c ON c.cluster = s.cluster AND c.namespace = s.namespace AND c.workload = s.workload
LEFT JOIN excluded e ON e.cluster = s.cluster AND e.namespace = s.namespace AND e.workload = s.workload
ORDER BY s.cluster, s.namespace, s.workload
