-- says: Which components claim which pods: every key of one selector alternative matches.
-- reads: party, party_label, selector
-- returns: party_id, component
-- one row per: party_id, component
SELECT DISTINCT m.party_id, m.component
FROM (
  SELECT p.party_id, s.component, s.alternative, s.keys, count(l.key) AS matched
  FROM party p
  JOIN selector s ON s.namespace IS NULL OR s.namespace = p.namespace
  LEFT JOIN party_label l ON l.party_id = p.party_id AND l.key = s.key AND (s.value IS NULL OR l.value = s.value)
  WHERE p.kind = 'pod'
  GROUP BY p.party_id, s.component, s.alternative, s.keys
) m
WHERE m.matched = m.keys
ORDER BY m.party_id, m.component
