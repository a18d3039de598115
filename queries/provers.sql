-- says: For each documented rule, which sources would show its flows, and which would prove how they were protected.
-- reads: rule, rule_grant, component
-- returns: rule_id, transport, initiators, responders, ports, protocol, responder_proxy, initiator_proxy, calico, proof
-- one row per: rule_id
-- cannot tell: sidecars that leave a port alone by annotation, and pods on the host network, which Calico does not report.
-- proof: responder_proxy where a sidecar takes the port in (mTLS is proven), else tap (packets; mTLS of TLS 1.3 inferred);
-- null where plaintext is allowed and nothing is to be proven. A capture (tap) shows every flow. No sidecar takes in its
-- own ports 15020, 15021 and 15090.
WITH grant_end AS (
  SELECT u.rule_id, u.transport, replace(g.from_term, 'component:', '') AS initiator,
    replace(g.to_term, 'component:', '') AS responder, coalesce(g.protocol, 'any') AS protocol,
    CASE WHEN g.port_class IS NOT NULL THEN g.port_class WHEN g.port_lo IS NULL THEN 'any'
         WHEN g.port_lo = g.port_hi THEN CAST(g.port_lo AS VARCHAR)
         ELSE CAST(g.port_lo AS VARCHAR) || '-' || CAST(g.port_hi AS VARCHAR) END AS port,
    CASE WHEN g.protocol = 'tcp' AND r.mesh = 'yes'
           AND NOT coalesce(g.port_lo = g.port_hi AND g.port_lo IN (15020, 15021, 15090), false) THEN 1 ELSE 0 END AS taken_in,
    CASE WHEN g.protocol = 'tcp' AND (g.from_term IN ('mesh', 'sidecar') OR i.mesh IN ('yes', 'gateway')) THEN 1 ELSE 0 END AS sent_out,
    CASE WHEN g.from_term LIKE 'component:%' OR g.to_term LIKE 'component:%' OR g.from_term LIKE 'namespace:%'
           OR g.to_term LIKE 'namespace:%' OR g.from_term IN ('pod', 'mesh', 'sidecar')
           OR g.to_term IN ('pod', 'mesh', 'sidecar')
         THEN 1 ELSE 0 END AS of_pods
  FROM rule u
  JOIN rule_grant g ON g.rule_id = u.rule_id
  LEFT JOIN component i ON 'component:' || i.component = g.from_term
  LEFT JOIN component r ON 'component:' || r.component = g.to_term
  WHERE u.kind = 'documented' AND u.revoked_by IS NULL
)
SELECT e.rule_id, e.transport, listagg(DISTINCT e.initiator, ', ' ORDER BY e.initiator) AS initiators,
  listagg(DISTINCT e.responder, ', ' ORDER BY e.responder) AS responders,
  listagg(DISTINCT e.port, ', ' ORDER BY e.port) AS ports,
  listagg(DISTINCT e.protocol, ', ' ORDER BY e.protocol) AS protocol,
  min(e.taken_in) = 1 AS responder_proxy, min(e.sent_out) = 1 AS initiator_proxy, min(e.of_pods) = 1 AS calico,
  CASE WHEN e.transport = 'plaintext_ok' THEN NULL WHEN min(e.taken_in) = 1 THEN 'responder_proxy' ELSE 'tap' END AS proof
FROM grant_end e
GROUP BY e.rule_id, e.transport
ORDER BY e.rule_id
