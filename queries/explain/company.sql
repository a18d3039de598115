-- says: The recorded flows that may be of one exchange with a flow: what is needed to tell which are.
-- reads: every_recorded
-- params: segment, record
-- returns: segment, record, dt, hour
-- one row per: segment, record
-- The same two ends, whichever way round; or a Calico row of the same port, because aggregation takes the ends' ports away.
WITH asked AS (
  SELECT r.* FROM every_recorded r WHERE r.segment = $segment AND r.record = $record
)
SELECT r.segment, r.record, r.dt, r.hour
FROM every_recorded r
JOIN asked a ON a.cluster = r.cluster AND a.protocol IS NOT DISTINCT FROM r.protocol
WHERE (r.segment = a.segment AND r.record = a.record)
  OR (r.initiator_ip = a.initiator_ip AND r.initiator_port = a.initiator_port
      AND r.responder_ip = a.responder_ip AND r.responder_port = a.responder_port)
  OR (r.initiator_ip = a.responder_ip AND r.initiator_port = a.responder_port
      AND r.responder_ip = a.initiator_ip AND r.responder_port = a.initiator_port)
  OR (a.source = 'calico' AND r.source = 'calico' AND r.responder_port IS NOT DISTINCT FROM a.responder_port)
ORDER BY ALL
