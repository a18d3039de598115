-- says: Ports that a holder declares, or that rules speak of at it: what tells which end answers.
-- reads: guessed, set_member, party, party_port, candidate_term, rule_grant
-- returns: set_id, protocol, port_lo, port_hi
-- one row per: set_id, protocol, port_lo
-- Ranges that overlap are joined, so that a port finds at most one of them.
WITH declared AS (
  SELECT m.set_id, p.protocol, p.port AS port_lo, p.port AS port_hi
  FROM guessed g JOIN set_member m ON m.set_id = g.set_id JOIN party h ON h.party_id = m.party_id JOIN party_port p ON p.profile = h.profile
  UNION
  SELECT m.set_id, r.protocol, r.port_lo, r.port_hi
  FROM guessed g
  JOIN set_member m ON m.set_id = g.set_id
  JOIN candidate_term t ON t.party_id = m.party_id
  JOIN rule_grant r ON r.to_term = t.term
  WHERE r.port_lo IS NOT NULL
), begun AS (
  SELECT d.set_id, d.protocol, d.port_lo, d.port_hi,
    CASE WHEN d.port_lo <= max(d.port_hi) OVER (PARTITION BY d.set_id, d.protocol ORDER BY d.port_lo, d.port_hi
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
         THEN 0 ELSE 1 END AS begins
  FROM declared d
), counted AS (
  SELECT b.set_id, b.protocol, b.port_lo, b.port_hi,
    sum(b.begins) OVER (PARTITION BY b.set_id, b.protocol ORDER BY b.port_lo, b.port_hi
                        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS nth
  FROM begun b
)
SELECT c.set_id, c.protocol, min(c.port_lo) AS port_lo, max(c.port_hi) AS port_hi
FROM counted c
GROUP BY c.set_id, c.protocol, c.nth
