-- says: Ports of rules that no pod of their component declares, where it has pods.
-- reads: rule, rule_grant, party, party_component, party_port
-- returns: rule_id, component, protocol, port_lo, port_hi
-- one row per: rule_id, component, protocol, port_lo, port_hi
-- cannot tell: whether a process listens on a port that its container does not declare.
WITH claimed AS (
  SELECT DISTINCT component FROM party_component
), asked AS (
  SELECT DISTINCT g.rule_id, c.component, g.protocol, g.port_lo, g.port_hi
  FROM rule_grant g
  JOIN rule r ON r.rule_id = g.rule_id
  JOIN claimed c ON g.to_term = 'component:' || c.component
  WHERE g.port_lo IS NOT NULL AND r.revoked_by IS NULL
), proxied AS (
  -- Every sidecar and gateway listens on these (Istio, "Ports used by Istio"), and its container declares 15090 only.
  SELECT DISTINCT c.component
  FROM party_component c JOIN party p ON p.party_id = c.party_id
  WHERE p.in_mesh
)
SELECT a.rule_id, a.component, a.protocol, a.port_lo, a.port_hi
FROM asked a
ANTI JOIN proxied x ON x.component = a.component AND a.protocol = 'tcp' AND a.port_lo = a.port_hi
  AND a.port_lo IN (15020, 15021, 15090)
ANTI JOIN (
  SELECT DISTINCT c.component, d.protocol, d.port
  FROM party_component c JOIN party p ON p.party_id = c.party_id JOIN party_port d ON d.profile = p.profile
) d ON d.component = a.component AND d.protocol = a.protocol AND d.port BETWEEN a.port_lo AND a.port_hi
ORDER BY a.rule_id, a.component, a.protocol, a.port_lo, a.port_hi
