-- says: Holders of an end of a flow whose direction is a guess: of them it counts which ports they declare.
-- reads: recorded, holding
-- returns: set_id
-- one row per: set_id
SELECT DISTINCT h.set_id
FROM (
  SELECT cluster, initiator_ip AS address FROM recorded WHERE initiator_basis IN ('first_seen', 'known_port')
  UNION
  SELECT cluster, responder_ip FROM recorded WHERE initiator_basis IN ('first_seen', 'known_port')
) g
JOIN holding h ON h.cluster = g.cluster AND h.address = g.address
