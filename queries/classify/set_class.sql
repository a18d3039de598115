-- says: Pods that nothing tells apart when they are judged: sets of one such pod, numbered, without and with its node.
-- reads: set_member, party, party_component, party_address_term
-- returns: set_id, class, class_on_node
-- one row per: set_id
-- The node counts only where a rule asks whether both ends share it; nobody of these is the one who asks.
WITH alone AS (
  SELECT m.set_id, min(m.party_id) AS party_id FROM set_member m GROUP BY m.set_id HAVING count(*) = 1
), claimed AS (
  SELECT party_id, listagg(component, ',' ORDER BY component) AS components FROM party_component GROUP BY party_id
), alike AS (
  SELECT a.set_id, coalesce(p.node, '') AS node,
    p.cluster || ' ' || p.profile || ' ' || coalesce(p.namespace, '') || ' '
      || CASE WHEN p.in_mesh THEN 't' WHEN NOT p.in_mesh THEN 'f' ELSE '-' END || ' ' || coalesce(c.components, '') AS said
  FROM alone a
  JOIN party p ON p.party_id = a.party_id AND p.kind = 'pod' AND p.profile <> p.party_id
  LEFT JOIN claimed c ON c.party_id = a.party_id
  ANTI JOIN party_address_term t ON t.party_id = a.party_id
), numbered AS (
  SELECT d.said, d.node, row_number() OVER (ORDER BY d.said, d.node) AS on_node,
    dense_rank() OVER (ORDER BY d.said) AS nth
  FROM (SELECT DISTINCT said, node FROM alike) d
)
SELECT a.set_id, 'class:' || CAST(n.nth AS VARCHAR) AS class, 'on_node:' || CAST(n.on_node AS VARCHAR) AS class_on_node
FROM alike a JOIN numbered n ON n.said = a.said AND n.node = a.node
