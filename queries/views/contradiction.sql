-- says: Flows whose record says somebody else than who held the address then, with both sides: what the record says, and who held it.
-- reads: flow, holding, set_member, party, party_capture, named, contested, trust_domain
-- returns: flow_id, side, told_by, says, source, reporter, reporter_name, cluster, first_seen, address, holders, valid_from, valid_to, known_until
-- one row per: flow_id, side, told_by
-- cannot tell: what holds within a minute of a change of holders, pods of one workload apart, and a proxy that passes a client's TLS on from a gateway of the mesh; the address of a node or Service contradicts nothing, nor does a holder that no snapshot vouches for then.
-- told_by: `name`, a pod's name in the record; `principal`, the service account of the initiator's certificate.
-- `holders` is a JSON array. Clocks differ, and a log may tell of a pod that has just gone: hence the minute on each side.
WITH doubted AS (
  SELECT f.*,
    -- Only Calico records are windows of time.
    CASE WHEN f.source = 'calico' AND f.last_seen > f.first_seen THEN f.last_seen ELSE f.first_seen END AS until
  FROM flow f
  WHERE f.initiator_identity_basis = 'name_and_address' OR f.responder_identity_basis = 'name_and_address'
    OR f.initiator_kind = 'ambiguous'
), claim AS (
  SELECT d.flow_id, 'initiator' AS side, 'name' AS told_by, d.initiator_ip AS address,
    d.initiator_named_namespace AS namespace, d.initiator_named_name AS name, d.initiator_named_name_prefix AS prefix,
    CAST(NULL AS VARCHAR) AS service_account, d.source, d.reporter, d.reporter_name, d.cluster, d.first_seen, d.until,
    'pod ' || d.initiator_named_namespace || '/' || coalesce(d.initiator_named_name, d.initiator_named_name_prefix || '*')
      AS says
  FROM doubted d
  WHERE d.initiator_identity_basis = 'name_and_address' AND d.initiator_named_kind = 'pod'
  UNION ALL
  SELECT d.flow_id, 'responder', 'name', d.responder_ip, d.responder_named_namespace, d.responder_named_name,
    d.responder_named_name_prefix, NULL, d.source, d.reporter, d.reporter_name, d.cluster, d.first_seen, d.until,
    'pod ' || d.responder_named_namespace || '/' || coalesce(d.responder_named_name, d.responder_named_name_prefix || '*')
  FROM doubted d
  WHERE d.responder_identity_basis = 'name_and_address' AND d.responder_named_kind = 'pod'
  UNION ALL
  SELECT d.flow_id, 'initiator', 'principal', d.initiator_ip, split_part(d.initiator_principal, '/', 5), NULL, NULL,
    split_part(d.initiator_principal, '/', 7), d.source, d.reporter, d.reporter_name, d.cluster, d.first_seen, d.until,
    d.initiator_principal
  FROM doubted d
  JOIN (SELECT DISTINCT trust_domain FROM trust_domain) t ON t.trust_domain = split_part(d.initiator_principal, '/', 3)
  WHERE d.initiator_kind = 'ambiguous' AND d.initiator_principal LIKE 'spiffe://%/ns/%/sa/%'
), held AS (
  SELECT c.*, h.set_id, h.valid_from, h.valid_to, h.known_until
  FROM claim c
  JOIN holding h ON h.cluster = c.cluster AND h.address = c.address
    AND h.valid_from <= c.first_seen - INTERVAL '60' SECOND AND h.valid_to > c.until + INTERVAL '60' SECOND
  WHERE h.known_until IS NULL OR h.known_until >= c.until
), related AS (
  -- Workloads of the pods that the names stand for.
  SELECT DISTINCT c.flow_id, c.side, p.namespace, p.workload_kind, p.workload
  FROM held c
  JOIN named n ON n.cluster = c.cluster AND n.valid_from <= c.until AND n.valid_to > c.first_seen
    AND n.key = CASE WHEN c.name IS NULL THEN 'prefix:' || c.namespace || '/' || c.prefix
                     ELSE 'pod:' || c.namespace || '/' || c.name END
  JOIN set_member m ON m.set_id = n.set_id
  JOIN party p ON p.party_id = m.party_id
  WHERE c.told_by = 'name'
), holder AS (
  SELECT h.flow_id, h.side, h.told_by, h.says, h.source, h.reporter, h.reporter_name, h.cluster, h.first_seen, h.address,
    h.valid_from, h.valid_to, h.known_until,
    p.namespace || '/' || p.pod
      || CASE WHEN h.told_by = 'principal' THEN ' as ' || coalesce(p.service_account, '-') ELSE '' END AS shown,
    -- Who agrees with the record; and of whom the address says too little: of a node anybody there, and behind it; of
    -- a gateway (a proxy that captures no port) whoever's TLS it passes on.
    CASE WHEN p.kind <> 'pod' OR p.host_network THEN 1
         WHEN h.told_by = 'principal' AND p.in_mesh AND g.profile IS NULL THEN 1
         WHEN h.told_by = 'principal' AND p.namespace = h.namespace AND p.service_account = h.service_account THEN 1
         WHEN h.told_by = 'principal' AND p.service_account IS NULL THEN 1
         WHEN p.namespace = h.namespace AND (p.pod = h.name OR (h.name IS NULL AND substr(p.pod, 1, length(h.prefix)) = h.prefix)) THEN 1
         WHEN w.workload IS NOT NULL OR x.address IS NOT NULL THEN 1
         ELSE 0 END AS agrees
  FROM held h
  JOIN set_member m ON m.set_id = h.set_id
  JOIN party p ON p.party_id = m.party_id
  LEFT JOIN (SELECT DISTINCT profile FROM party_capture) g ON g.profile = p.profile
  LEFT JOIN related w ON w.flow_id = h.flow_id AND w.side = h.side AND h.told_by = 'name'
    AND w.namespace = p.namespace AND w.workload_kind = p.workload_kind AND w.workload = p.workload
  LEFT JOIN contested x ON x.cluster = h.cluster AND x.address = h.address
    AND x.valid_from <= h.until AND x.valid_to > h.first_seen
)
SELECT h.flow_id, h.side, h.told_by, h.says, h.source, h.reporter, h.reporter_name, h.cluster, h.first_seen, h.address,
  '["' || listagg(DISTINCT h.shown, '","' ORDER BY h.shown) || '"]' AS holders, h.valid_from, h.valid_to, h.known_until
FROM holder h
GROUP BY h.flow_id, h.side, h.told_by, h.says, h.source, h.reporter, h.reporter_name, h.cluster, h.first_seen, h.address,
  h.valid_from, h.valid_to, h.known_until
HAVING max(h.agrees) = 0
