-- says: Which components claim which pods: every key of one selector alternative matches.
-- reads: party, party_label, selector
-- returns: party_id, component
-- one row per: party_id, component
-- Selectors find labels, not the other way round: there are few of the one and very many of the other.
WITH met AS (
  SELECT l.label_set, s.component, s.alternative, s.namespace, s.keys
  FROM party_label l JOIN selector s ON s.key = l.key AND s.value = l.value
  UNION ALL
  SELECT l.label_set, s.component, s.alternative, s.namespace, s.keys
  FROM party_label l JOIN selector s ON s.key = l.key
  WHERE s.value IS NULL
), matched AS (
  SELECT label_set, component, alternative, namespace
  FROM met
  GROUP BY label_set, component, alternative, namespace, keys HAVING count(*) = keys
)
SELECT p.party_id, m.component
FROM matched m JOIN party p ON p.label_set = m.label_set
WHERE p.kind = 'pod' AND (m.namespace IS NULL OR m.namespace = p.namespace)
UNION
SELECT p.party_id, s.component
FROM party p JOIN selector s ON s.namespace = p.namespace
WHERE p.kind = 'pod' AND s.keys = 0
UNION
SELECT p.party_id, s.component
FROM party p CROSS JOIN selector s
WHERE p.kind = 'pod' AND s.keys = 0 AND s.namespace IS NULL
