-- says: The words by which rules may speak of a candidate that stands in a set with others.
-- reads: combination, set_candidate, candidate, candidate_term, party_address_term
-- returns: set_id, party_id, term, node, kind, profile
-- one row per: set_id, party_id, term
-- A rule about a node or the API server speaks of the address: it covers the pods that the address masquerades, and
-- whoever shares a node's address is on that node.
WITH asked AS (
  SELECT initiator_set AS set_id FROM combination UNION SELECT responder_set FROM combination
), member AS (
  SELECT s.set_id, c.party_id, c.kind, c.node, c.profile
  FROM asked a JOIN set_candidate s ON s.set_id = a.set_id JOIN candidate c ON c.party_id = s.party_id
), node_address AS (
  SELECT m.set_id, min(m.node) AS node FROM member m WHERE m.kind = 'node'
  GROUP BY m.set_id HAVING count(DISTINCT m.node) = 1
), spoken AS (
  SELECT m.set_id, m.party_id, t.term FROM member m JOIN candidate_term t ON t.party_id = m.party_id
  UNION
  SELECT m.set_id, m.party_id, t.term
  FROM member m
  JOIN member n ON n.set_id = m.set_id AND n.kind = 'node'
  JOIN party_address_term t ON t.party_id = n.party_id
  WHERE m.set_id LIKE 'behind:%'
)
SELECT s.set_id, s.party_id, s.term, coalesce(m.node, n.node) AS node, m.kind, m.profile
FROM spoken s
JOIN member m ON m.set_id = s.set_id AND m.party_id = s.party_id
LEFT JOIN node_address n ON n.set_id = s.set_id
