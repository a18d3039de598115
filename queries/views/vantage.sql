-- says: Whom each source reports for in the window: a log's own end of its flows, either end of what a tap saw.
-- reads: flow, asked
-- returns: cluster, source, reporter, kind, namespace, workload, component, in_mesh, node, tells_transport, flows, first_seen, last_seen
-- one row per: cluster, source, reporter, kind, namespace, workload, component, in_mesh, node
-- cannot tell: where a tap stood; it saw what both ends of its flows said to each other, of others' talk with them nothing is known.
-- Hops inside a pod and tunnels are no sight of anybody. A line of one packet, without a reporter, is no vantage point.
WITH sight AS (
  SELECT f.cluster, f.source, f.reporter, f.first_seen, coalesce(f.last_seen, f.first_seen) AS last_seen,
    f.initiator_kind, f.initiator_namespace, f.initiator_workload, f.initiator_component, f.initiator_in_mesh,
    f.initiator_node, f.responder_kind, f.responder_namespace, f.responder_workload, f.responder_component,
    f.responder_in_mesh, f.responder_node,
    CASE WHEN f.transport_basis IN ('not_recorded', 'format_silent') THEN 0 ELSE 1 END AS tells
  FROM flow f CROSS JOIN asked a
  WHERE f.hop = 'wire' AND f.first_seen IS NOT NULL AND (a.since IS NULL OR coalesce(f.last_seen, f.first_seen) >= a.since)
    AND (a.until IS NULL OR f.first_seen < a.until)
), own_end AS (
  SELECT s.cluster, s.source, s.reporter, s.first_seen, s.last_seen, s.tells, s.initiator_kind AS kind,
    s.initiator_namespace AS namespace, s.initiator_workload AS workload, s.initiator_component AS component,
    s.initiator_in_mesh AS in_mesh, s.initiator_node AS node
  FROM sight s WHERE s.reporter IN ('initiator', 'tap')
  UNION ALL
  SELECT s.cluster, s.source, s.reporter, s.first_seen, s.last_seen, s.tells, s.responder_kind, s.responder_namespace,
    s.responder_workload, s.responder_component, s.responder_in_mesh, s.responder_node
  FROM sight s WHERE s.reporter IN ('responder', 'tap')
)
SELECT o.cluster, o.source, o.reporter, o.kind, o.namespace, o.workload, o.component, o.in_mesh, o.node,
  max(o.tells) = 1 AS tells_transport, count(*) AS flows, min(o.first_seen) AS first_seen, max(o.last_seen) AS last_seen
FROM own_end o
WHERE o.kind NOT IN ('unknown', 'ambiguous')
GROUP BY o.cluster, o.source, o.reporter, o.kind, o.namespace, o.workload, o.component, o.in_mesh, o.node
