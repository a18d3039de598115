-- says: Every pair of candidates of a combination, and whether it is one pod that reached itself through its own Service.
-- reads: combination, set_candidate, candidate, party_port, service_cluster
-- returns: combination, initiator_party, responder_party, spoken_party, itself
-- one row per: combination, initiator_party, responder_party
-- Where others are candidates too, only a port that a Service leads to may be reached so. kube-proxy masquerades what it
-- leads back: the address of its own node may stand for the pod, and rules about that address cover it (spoken_party).
WITH asked AS (
  SELECT c.combination, c.initiator_set, c.responder_set, c.protocol, c.target_port, p.party_id, p.cluster, p.node, p.profile
  FROM combination c
  JOIN set_candidate r ON r.set_id = c.responder_set
  JOIN candidate p ON p.party_id = r.party_id AND p.kind = 'pod'
  WHERE c.may_be_itself
), able AS (
  SELECT a.combination, a.party_id
  FROM asked a
  JOIN party_port p ON p.profile = a.profile AND p.role = 'endpoint' AND p.protocol = a.protocol AND p.port = a.target_port
  UNION
  SELECT a.combination, a.party_id FROM asked a ANTI JOIN service_cluster k ON k.cluster = a.cluster
  UNION
  SELECT a.combination, a.party_id
  FROM asked a JOIN set_candidate i ON i.set_id = a.initiator_set
  WHERE a.initiator_set = a.responder_set
  GROUP BY a.combination, a.party_id HAVING count(*) = 1
), masqueraded AS (
  SELECT a.combination, a.party_id, min(n.party_id) AS node_party
  FROM able b
  JOIN asked a ON a.combination = b.combination AND a.party_id = b.party_id
  JOIN set_candidate i ON i.set_id = a.initiator_set
  JOIN candidate n ON n.party_id = i.party_id AND n.kind = 'node' AND n.cluster = a.cluster AND n.node = a.node
  LEFT JOIN set_candidate o ON o.set_id = a.initiator_set AND o.party_id = a.party_id
  WHERE o.party_id IS NULL
  GROUP BY a.combination, a.party_id
)
SELECT c.combination, i.party_id AS initiator_party, r.party_id AS responder_party, i.party_id AS spoken_party,
  b.party_id IS NOT NULL AS itself
FROM combination c
JOIN set_candidate i ON i.set_id = c.initiator_set
JOIN set_candidate r ON r.set_id = c.responder_set
LEFT JOIN able b ON b.combination = c.combination AND b.party_id = i.party_id AND b.party_id = r.party_id
UNION ALL
SELECT combination, party_id, party_id, node_party, true FROM masqueraded
