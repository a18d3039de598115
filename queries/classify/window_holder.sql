-- says: Further holders of an aggregated record: whoever matched its names or addresses later in its window.
-- reads: recorded, holding, named
-- returns: segment, record, initiator, set_id
-- one row per: segment, record, initiator, set_id
-- Only Calico records are windows; packets and lines are judged by the moment they began.
WITH window_end AS (
  SELECT f.segment, f.record, f.cluster, f.first_seen, f.last_seen, true AS initiator, f.initiator_ip AS address,
    CASE WHEN f.initiator_named_kind = 'pod' AND f.initiator_named_name IS NOT NULL
           THEN 'pod:' || f.initiator_named_namespace || '/' || f.initiator_named_name
         WHEN f.initiator_named_kind = 'pod' AND f.initiator_named_name_prefix IS NOT NULL
           THEN 'prefix:' || f.initiator_named_namespace || '/' || f.initiator_named_name_prefix
         WHEN f.initiator_named_kind = 'host' THEN 'host:' || f.initiator_named_name END AS name
  FROM recorded f WHERE f.source = 'calico'
  UNION ALL
  SELECT f.segment, f.record, f.cluster, f.first_seen, f.last_seen, false, f.responder_ip,
    CASE WHEN f.responder_named_kind = 'pod' AND f.responder_named_name IS NOT NULL
           THEN 'pod:' || f.responder_named_namespace || '/' || f.responder_named_name
         WHEN f.responder_named_kind = 'pod' AND f.responder_named_name_prefix IS NOT NULL
           THEN 'prefix:' || f.responder_named_namespace || '/' || f.responder_named_name_prefix
         WHEN f.responder_named_kind = 'host' THEN 'host:' || f.responder_named_name END
  FROM recorded f WHERE f.source = 'calico'
)
SELECT w.segment, w.record, w.initiator, n.set_id
FROM window_end w
JOIN named n ON n.cluster = w.cluster AND n.key = w.name AND n.valid_from > w.first_seen AND n.valid_from <= w.last_seen
UNION
SELECT w.segment, w.record, w.initiator, h.set_id
FROM window_end w
JOIN holding h ON h.cluster = w.cluster AND h.address = w.address
  AND h.valid_from > w.first_seen AND h.valid_from <= w.last_seen
WHERE w.name IS NULL OR w.name LIKE 'host:%'
