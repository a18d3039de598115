-- says: Who each recorded end was when the flow began, by address and by the record's own names, and which way round.
-- reads: recorded, holding, endpoint, called, address_class, set_port
-- returns: segment, record, cluster, first_seen, last_seen, initiator_ip, responder_ip, protocol, source, reporter, action, connection_state, response_code, app_protocol, hop, transport_seen, transport_seen_basis, initiator_principal, responder_principal, mesh_mtls, packets_sent, packets_received, payload_sent, payload_received, turned, firm, initiator_address_set, initiator_address_basis, initiator_known_until, initiator_name_set, responder_address_set, responder_address_basis, responder_known_until, responder_dialled_set, responder_name_set, target_port, responder_service
-- one row per: segment, record
-- Each lookup finds at most one row: intervals are disjoint per key.
-- The name set is `unknown` where the record names a pod that no snapshot knew then; a proxy that none knew says nothing.
-- What is asked of few flows (names, what an address is that nobody held, ports where the direction is a guess) is joined
-- by a key that is null for all others: that costs nothing.
-- A view: its rows are many, and read once, by `identified`.
WITH ends AS (
  SELECT f.*, f.initiator_basis IN ('first_seen', 'known_port') AS guessed,
    CASE WHEN f.initiator_named_kind = 'pod' AND f.initiator_named_name IS NOT NULL
           THEN 'pod:' || f.initiator_named_namespace || '/' || f.initiator_named_name
         WHEN f.initiator_named_kind = 'pod' AND f.initiator_named_name_prefix IS NOT NULL
           THEN 'prefix:' || f.initiator_named_namespace || '/' || f.initiator_named_name_prefix
         WHEN f.initiator_named_kind = 'host' THEN 'host:' || f.initiator_named_name
         WHEN f.initiator_named_kind = 'public_network' AND f.initiator_ip IS NULL THEN 'from:public'
         -- The path of a log, or the node of a stream, says whose proxy tells of its own side.
         WHEN f.initiator_named_kind IS NULL AND f.source = 'envoy' AND f.reporter = 'initiator'
           AND f.reporter_name LIKE '%/%' THEN 'pod:' || f.reporter_name END AS initiator_name,
    CASE WHEN f.responder_named_kind = 'pod' AND f.responder_named_name IS NOT NULL
           THEN 'pod:' || f.responder_named_namespace || '/' || f.responder_named_name
         WHEN f.responder_named_kind = 'pod' AND f.responder_named_name_prefix IS NOT NULL
           THEN 'prefix:' || f.responder_named_namespace || '/' || f.responder_named_name_prefix
         WHEN f.responder_named_kind = 'host' THEN 'host:' || f.responder_named_name
         WHEN f.responder_named_kind = 'public_network' AND f.responder_ip IS NULL THEN 'to:public'
         WHEN f.responder_named_kind IS NULL AND f.source = 'envoy' AND f.reporter = 'responder'
           AND f.reporter_name LIKE '%/%' THEN 'pod:' || f.reporter_name END AS responder_name
  FROM recorded f
), looked_up AS (
  SELECT e.*,
    hi.set_id AS i_held, hi.known_until AS i_held_until,
    ei.set_id AS i_served, ei.known_until AS i_served_until, ei.target_port AS i_target, ei.service AS i_service,
    ei.basis AS i_served_basis,
    CASE WHEN e.first_seen IS NULL THEN 'unknown' ELSE coalesce(ci.set_id, 'unknown') END AS i_class,
    CASE WHEN e.first_seen IS NULL THEN 'no_time' WHEN e.initiator_ip IS NULL THEN 'not_recorded'
         ELSE coalesce(ci.basis, 'not_found') END AS i_class_basis,
    coalesce(ni.set_id, CASE WHEN e.first_seen IS NOT NULL AND e.initiator_named_kind = 'pod'
                                AND e.initiator_name IS NOT NULL THEN 'unknown' END)
      AS i_named,
    hr.set_id AS r_held, hr.known_until AS r_held_until,
    er.set_id AS r_served, er.known_until AS r_served_until, er.target_port AS r_target, er.service AS r_service,
    er.basis AS r_served_basis,
    CASE WHEN e.first_seen IS NULL THEN 'unknown' ELSE coalesce(cr.set_id, 'unknown') END AS r_class,
    CASE WHEN e.first_seen IS NULL THEN 'no_time' WHEN e.responder_ip IS NULL THEN 'not_recorded'
         ELSE coalesce(cr.basis, 'not_found') END AS r_class_basis,
    coalesce(nr.set_id, CASE WHEN e.first_seen IS NOT NULL AND e.responder_named_kind = 'pod'
                                AND e.responder_name IS NOT NULL THEN 'unknown' END)
      AS r_named,
    ei.set_id IS NOT NULL OR pi.port_lo IS NOT NULL AS i_declared,
    er.set_id IS NOT NULL OR pr.port_lo IS NOT NULL AS r_declared
  FROM ends e
  LEFT JOIN holding hi ON hi.cluster = e.cluster AND hi.address = e.initiator_ip
    AND e.first_seen >= hi.valid_from AND e.first_seen < hi.valid_to
  LEFT JOIN holding hr ON hr.cluster = e.cluster AND hr.address = e.responder_ip
    AND e.first_seen >= hr.valid_from AND e.first_seen < hr.valid_to
  LEFT JOIN endpoint ei ON ei.cluster = e.cluster AND ei.address = CASE WHEN e.guessed THEN e.initiator_ip END AND ei.protocol = e.protocol
    AND ei.port = e.initiator_port AND e.first_seen >= ei.valid_from AND e.first_seen < ei.valid_to
  LEFT JOIN endpoint er ON er.cluster = e.cluster AND er.address = e.responder_ip AND er.protocol = e.protocol
    AND er.port = e.responder_port AND e.first_seen >= er.valid_from AND e.first_seen < er.valid_to
  LEFT JOIN called ni ON ni.cluster = e.cluster AND ni.key = e.initiator_name
    AND e.first_seen >= ni.valid_from AND e.first_seen < ni.valid_to
  LEFT JOIN called nr ON nr.cluster = e.cluster AND nr.key = e.responder_name
    AND e.first_seen >= nr.valid_from AND e.first_seen < nr.valid_to
  LEFT JOIN address_class ci ON ci.cluster = e.cluster
    AND ci.address = CASE WHEN hi.set_id IS NULL THEN e.initiator_ip END
  LEFT JOIN address_class cr ON cr.cluster = e.cluster
    AND cr.address = CASE WHEN hr.set_id IS NULL THEN e.responder_ip END
  LEFT JOIN set_port pi ON pi.set_id = CASE WHEN e.guessed THEN hi.set_id END
    AND pi.protocol = e.protocol
    AND e.initiator_port BETWEEN pi.port_lo AND pi.port_hi
  LEFT JOIN set_port pr ON pr.set_id = CASE WHEN e.guessed THEN hr.set_id END
    AND pr.protocol = e.protocol
    AND e.responder_port BETWEEN pr.port_lo AND pr.port_hi
), directed AS (
  SELECT l.*,
    l.guessed AND l.i_declared AND NOT l.r_declared AS turned,
    -- A port guessed by its number stays a guess where a holder is known and does not declare it.
    NOT l.guessed OR l.i_declared <> l.r_declared
      OR (l.initiator_basis = 'known_port' AND l.r_held IS NULL AND NOT l.i_declared) AS firm
  FROM looked_up l
)
SELECT d.segment, d.record, d.cluster,
  d.first_seen, d.last_seen, d.initiator_ip, d.responder_ip, d.protocol, d.source, d.reporter, d.action, d.connection_state,
  d.response_code, d.app_protocol, d.hop, d.transport_seen, d.transport_seen_basis,
  CASE WHEN d.turned THEN d.responder_principal ELSE d.initiator_principal END AS initiator_principal,
  CASE WHEN d.turned THEN d.initiator_principal ELSE d.responder_principal END AS responder_principal, d.mesh_mtls,
  d.packets_sent, d.packets_received, d.payload_sent, d.payload_received,
  d.turned, d.firm,
  CASE WHEN d.turned THEN coalesce(d.r_held, d.r_class) ELSE coalesce(d.i_held, d.i_class) END
    AS initiator_address_set,
  CASE WHEN d.turned THEN CASE WHEN d.r_held IS NULL THEN d.r_class_basis ELSE 'address' END
       ELSE CASE WHEN d.i_held IS NULL THEN d.i_class_basis ELSE 'address' END END AS initiator_address_basis,
  CASE WHEN d.turned THEN d.r_held_until ELSE d.i_held_until END AS initiator_known_until,
  CASE WHEN d.turned THEN d.r_named ELSE d.i_named END AS initiator_name_set,
  CASE WHEN d.turned THEN coalesce(d.i_served, d.i_held, d.i_class) ELSE coalesce(d.r_served, d.r_held, d.r_class) END
    AS responder_address_set,
  CASE WHEN d.turned THEN coalesce(d.i_served_basis, CASE WHEN d.i_held IS NULL THEN d.i_class_basis ELSE 'address' END)
       ELSE coalesce(d.r_served_basis, CASE WHEN d.r_held IS NULL THEN d.r_class_basis ELSE 'address' END) END
    AS responder_address_basis,
  CASE WHEN d.turned THEN CASE WHEN d.i_served IS NULL THEN d.i_held_until ELSE d.i_served_until END
       ELSE CASE WHEN d.r_served IS NULL THEN d.r_held_until ELSE d.r_served_until END END AS responder_known_until,
  -- Whose address it is on which a Service was dialled: the Service's own, a node's.
  CASE WHEN d.turned THEN CASE WHEN d.i_served_basis = 'service' THEN d.i_held END
       ELSE CASE WHEN d.r_served_basis = 'service' THEN d.r_held END END AS responder_dialled_set,
  CASE WHEN d.turned THEN d.i_named ELSE d.r_named END AS responder_name_set,
  CASE WHEN d.turned THEN coalesce(d.i_target, d.initiator_port) ELSE coalesce(d.r_target, d.responder_port) END
    AS target_port,
  CASE WHEN d.turned THEN d.i_service ELSE d.r_service END AS responder_service
FROM directed d
