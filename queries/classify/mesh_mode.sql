-- says: What the mesh enforces on a responder's port: the PeerAuthentication that counts, and whether the sidecar sees it.
-- reads: combination, set_candidate, candidate, party_policy, party_capture, policy_known
-- returns: party_id, protocol, port, mode, captured, by_sidecar, excluded
-- one row per: party_id, protocol, port
-- Port level before workload, workload before namespace, namespace before mesh; of two alike the older one counts.
-- Sidecars and ztunnel capture TCP only. `excluded`: the party has a sidecar that captures other ports; a gateway captures none.
WITH asked AS (
  SELECT DISTINCT r.party_id, p.cluster, p.profile, c.protocol, c.target_port AS port
  FROM combination c
  JOIN set_candidate r ON r.set_id = c.responder_set
  JOIN candidate p ON p.party_id = r.party_id
), ranked AS (
  SELECT a.party_id, a.cluster, a.profile, a.protocol, a.port, p.mode,
    row_number() OVER (PARTITION BY a.party_id, a.protocol, a.port
      ORDER BY CASE WHEN p.port IS NULL THEN 1 ELSE 0 END, p.level NULLS LAST, p.since NULLS LAST,
        p.name NULLS LAST) AS nth
  FROM asked a
  LEFT JOIN party_policy p ON p.profile = a.profile AND (p.port IS NULL OR p.port = a.port)
)
SELECT r.party_id, r.protocol, r.port,
  coalesce(r.mode, CASE WHEN k.cluster IS NULL THEN 'unknown' ELSE 'PERMISSIVE' END) AS mode,
  s.profile IS NOT NULL AS captured,
  coalesce(s.profile IS NOT NULL AND coalesce(s.proxy, 'sidecar') = 'sidecar', false) AS by_sidecar,
  s.profile IS NULL AND x.profile IS NOT NULL AS excluded
FROM ranked r
LEFT JOIN policy_known k ON k.cluster = r.cluster
LEFT JOIN party_capture s ON s.profile = r.profile AND r.protocol = 'tcp' AND r.port BETWEEN s.port_lo AND s.port_hi
LEFT JOIN (SELECT DISTINCT profile FROM party_capture) x ON x.profile = r.profile
WHERE r.nth = 1
