-- says: Both sides of what contradicts an address: whom the record names, and who held the address then; one flow per edge.
-- reads: edge, contradiction
-- returns: told_by, side, says, source, reporter, reporter_name, first_seen, address, holders, valid_from, valid_to, known_until, cluster, initiator, responder, port, protocol, exchanges, flow_id
-- one row per: told_by, side, flow_id
-- cannot tell: see contradiction.
WITH found AS (
  SELECT 'name' AS told_by, e.contradicting_name AS flow_id, e.cluster, e.initiator, e.responder, e.port, e.protocol,
    e.exchanges
  FROM edge e WHERE e.contradicting_name IS NOT NULL
  UNION ALL
  SELECT 'principal', e.contradicting_principal, e.cluster, e.initiator, e.responder, e.port, e.protocol, e.exchanges
  FROM edge e WHERE e.contradicting_principal IS NOT NULL
)
SELECT k.told_by, k.side, k.says, k.source, k.reporter, k.reporter_name, k.first_seen, k.address, k.holders, k.valid_from,
  k.valid_to, k.known_until, f.cluster, f.initiator, f.responder, f.port, f.protocol, f.exchanges, k.flow_id
FROM found f
JOIN contradiction k ON k.flow_id = f.flow_id AND k.told_by = f.told_by
ORDER BY ALL
