-- says: Who bore the names that these flows' records use.
-- reads: recorded, named
-- returns: cluster, key, valid_from, valid_to, set_id
-- one row per: cluster, key, valid_from
WITH used AS (
  SELECT DISTINCT cluster, initiator_named_kind AS kind, initiator_named_namespace AS namespace,
    initiator_named_name AS name, initiator_named_name_prefix AS prefix
  FROM recorded WHERE initiator_named_kind IS NOT NULL
  UNION
  SELECT DISTINCT cluster, responder_named_kind, responder_named_namespace, responder_named_name,
    responder_named_name_prefix
  FROM recorded WHERE responder_named_kind IS NOT NULL
  UNION
  SELECT cluster, 'pod', split_part(reporter_name, '/', 1), split_part(reporter_name, '/', 2), NULL
  FROM recorded WHERE source = 'envoy' AND reporter IN ('initiator', 'responder') AND reporter_name LIKE '%/%'
), key AS (
  SELECT cluster, 'pod:' || namespace || '/' || name AS key FROM used WHERE kind = 'pod' AND name IS NOT NULL
  UNION
  SELECT cluster, 'prefix:' || namespace || '/' || prefix FROM used
  WHERE kind = 'pod' AND name IS NULL AND prefix IS NOT NULL
  UNION
  SELECT cluster, 'host:' || name FROM used WHERE kind = 'host'
  UNION
  SELECT u.cluster, s.side FROM used u CROSS JOIN (SELECT 'from:public' AS side UNION ALL SELECT 'to:public') s
  WHERE u.kind = 'public_network'
)
SELECT n.cluster, n.key, n.valid_from, n.valid_to, n.set_id
FROM key k
JOIN named n ON n.cluster = k.cluster AND n.key = k.key
