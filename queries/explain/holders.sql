-- says: Everyone each end of the flow may have been, and the intervals that make it so.
-- reads: recorded, identified, set_candidate, candidate_pair, candidate, candidate_term, holding, set_member
-- returns: side, party_id, kind, namespace, pod, workload, workload_kind, service_account, node, in_mesh, component, in_scope, address, valid_from, valid_to, known_until
-- one row per: side, party_id, address, valid_from
-- The address of its own node may stand for the responder: such a pair speaks through the node.
WITH ends AS (
  SELECT 'initiator' AS side, initiator_set AS set_id FROM identified
  UNION ALL SELECT 'responder', responder_set FROM identified
), stood AS (
  SELECT e.side, s.party_id FROM ends e JOIN set_candidate s ON s.set_id = e.set_id
  UNION
  SELECT 'initiator', initiator_party FROM candidate_pair WHERE spoken_party <> initiator_party
), held AS (
  SELECT m.party_id, h.address, h.valid_from, h.valid_to, h.known_until
  FROM holding h JOIN set_member m ON m.set_id = h.set_id
  JOIN recorded f ON h.valid_from <= f.first_seen AND f.first_seen < h.valid_to
)
SELECT e.side, c.party_id, c.kind, c.namespace, c.pod, c.workload, c.workload_kind, c.service_account, c.node, c.in_mesh,
  c.component, c.in_scope, h.address, h.valid_from, h.valid_to, h.known_until
FROM stood e
JOIN candidate c ON c.party_id = e.party_id
LEFT JOIN held h ON h.party_id = c.party_id
ORDER BY ALL
