-- says: What the mesh enforces on a responder's port: the PeerAuthentication that counts, and whether the sidecar sees it.
-- reads: combination, set_candidate, candidate, party_policy, party_capture, policy_known
-- returns: party_id, protocol, port, mode, captured, by_sidecar, excluded
-- one row per: party_id, protocol, port
-- Port level before workload, workload before namespace, namespace before mesh; of two alike the older one counts.
-- Sidecars and ztunnel capture TCP only. `excluded`: the party has a sidecar that captures other ports; a gateway captures none.
WITH asked AS (
  SELECT DISTINCT r.party_id, c.protocol, c.target_port AS port
  FROM combination c JOIN set_candidate r ON r.set_id = c.responder_set
), spoken_of AS (
  SELECT DISTINCT party_id FROM asked
), policy AS (
  SELECT p.party_id, p.level, p.port, p.mode, p.name, p.since
  FROM spoken_of a JOIN party_policy p ON p.party_id = a.party_id
), capture AS (
  SELECT c.party_id, c.port_lo, c.port_hi, c.proxy FROM spoken_of a JOIN party_capture c ON c.party_id = a.party_id
), ranked AS (
  SELECT a.party_id, a.protocol, a.port, p.mode,
    row_number() OVER (PARTITION BY a.party_id, a.protocol, a.port
      ORDER BY CASE WHEN p.port IS NULL THEN 1 ELSE 0 END, p.level NULLS LAST, p.since NULLS LAST,
        p.name NULLS LAST) AS nth
  FROM asked a
  LEFT JOIN policy p ON p.party_id = a.party_id AND (p.port IS NULL OR p.port = a.port)
)
SELECT r.party_id, r.protocol, r.port,
  coalesce(r.mode, CASE WHEN k.cluster IS NULL THEN 'unknown' ELSE 'PERMISSIVE' END) AS mode,
  s.party_id IS NOT NULL AS captured,
  coalesce(s.party_id IS NOT NULL AND coalesce(s.proxy, 'sidecar') = 'sidecar', false) AS by_sidecar,
  s.party_id IS NULL AND x.party_id IS NOT NULL AS excluded
FROM ranked r
JOIN candidate c ON c.party_id = r.party_id
LEFT JOIN policy_known k ON k.cluster = c.cluster
LEFT JOIN capture s ON s.party_id = r.party_id AND r.protocol = 'tcp' AND r.port BETWEEN s.port_lo AND s.port_hi
LEFT JOIN (SELECT DISTINCT party_id FROM capture) x ON x.party_id = r.party_id
WHERE r.nth = 1
