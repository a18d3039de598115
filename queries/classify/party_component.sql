-- says: Which components claim which pods: every key of one selector alternative matches.
-- reads: party, party_label, selector
-- returns: party_id, component
-- one row per: party_id, component
-- Selectors find labels, not the other way round: there are few of the one and very many of the other.
WITH met AS (
  SELECT l.party_id, s.component, s.alternative, s.namespace, s.keys
  FROM party_label l JOIN selector s ON s.key = l.key AND s.value = l.value
  UNION ALL
  SELECT l.party_id, s.component, s.alternative, s.namespace, s.keys
  FROM party_label l JOIN selector s ON s.key = l.key
  WHERE s.value IS NULL
), matched AS (
  SELECT p.party_id, m.component, m.alternative, m.keys, count(*) AS matched
  FROM met m JOIN party p ON p.party_id = m.party_id
  WHERE p.kind = 'pod' AND (m.namespace IS NULL OR m.namespace = p.namespace)
  GROUP BY p.party_id, m.component, m.alternative, m.keys
)
SELECT m.party_id, m.component FROM matched m WHERE m.matched = m.keys
UNION
SELECT p.party_id, s.component
FROM party p JOIN selector s ON s.namespace = p.namespace
WHERE p.kind = 'pod' AND s.keys = 0
UNION
SELECT p.party_id, s.component
FROM party p CROSS JOIN selector s
WHERE p.kind = 'pod' AND s.keys = 0 AND s.namespace IS NULL
