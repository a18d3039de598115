-- says: Findings of the baseline whose edge has no finding of that code now.
-- reads: found, baseline
-- returns: code, cluster, initiator, responder, port, protocol
-- one row per: code, cluster, initiator, responder, port, protocol
-- cannot tell: whether they are gone: nobody may have looked, or another window or filter was asked for.
SELECT DISTINCT b.code, b.cluster, b.initiator, b.responder, b.port, b.protocol
FROM baseline b
WHERE b.code IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM found f
  WHERE f.code = b.code AND f.initiator = b.initiator AND f.responder = b.responder AND f.protocol = b.protocol
    AND f.port IS NOT DISTINCT FROM b.port AND f.cluster IS NOT DISTINCT FROM b.cluster)
ORDER BY ALL
