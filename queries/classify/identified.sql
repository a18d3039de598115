-- says: Both ends of each flow as one set of candidates each, and what the record alone proves.
-- reads: recorded, located, window_holder, population, set_overlap, set_account, set_fact, set_mate, principal, accounted, account_port, era, unmasqueraded
-- returns: segment, record, first_seen, until, turned, firm, off_wire, tunnel, initiator_contradicted, responder_contradicted, initiator_set, initiator_name_set, initiator_address_set, initiator_identity_basis, responder_set, responder_name_set, responder_address_set, responder_identity_basis, protocol, target_port, responder_service, seen, seen_basis, trusted, has_payload, mesh_mtls, evidence_origin, outcome, era, may_be_itself, combination
-- one row per: segment, record
-- A name wins over an address that nobody else held then; where the two name different holders both are candidates.
-- Of a node's holders the one who declares the port wins over the node's name. Sets: `either:NAME+ADDRESS+LATER`, and
-- `behind:SET@CHANGED` where a node's address may also stand for the pods it masqueraded then, with `!pool` or `!node`
-- behind it where it dials an address for which fewer are masqueraded.
-- A service account that a proxy verified stands in for a holder that nobody knows. It is not told whether the port was its
-- pod's own: a gateway passes TLS on from one port to another. Only one that such pods declare is taken for theirs.
-- `may_be_itself`: a candidate of both ends may be one pod that reached itself. Of pods judged as one it says which did.
WITH account AS (
  SELECT a.set_id, a.namespace, a.service_account
  FROM (SELECT max(1) AS certified FROM principal WHERE namespace IS NOT NULL) p
  JOIN set_fact t ON t.has_account AND p.certified = 1
  JOIN set_account a ON a.set_id = t.set_id
), widened AS (
  SELECT segment, record,
    listagg(CASE WHEN initiator THEN set_id END, '+' ORDER BY set_id) AS initiator_window,
    listagg(CASE WHEN NOT initiator THEN set_id END, '+' ORDER BY set_id) AS responder_window
  FROM window_holder GROUP BY segment, record
), chosen AS (
  SELECT l.segment, l.record, l.first_seen, l.turned, l.firm, l.target_port, l.responder_service, l.responder_dialled_set,
    -- Only Calico records are windows of time.
    CASE WHEN l.source = 'calico' AND l.last_seen > l.first_seen THEN l.last_seen ELSE l.first_seen END AS until,
    CASE WHEN l.initiator_name_set = 'unknown' AND w.initiator_window IS NOT NULL THEN NULL
         ELSE l.initiator_name_set END AS initiator_name_set,
    CASE WHEN l.initiator_name_set IS NULL OR (oi.name_set IS NULL AND l.initiator_address_basis = 'address')
           THEN coalesce(ki.set_id, l.initiator_address_set) END AS initiator_address_set,
    w.initiator_window,
    CASE WHEN l.initiator_name_set IS NULL
           OR (l.initiator_name_set = l.initiator_address_set AND l.initiator_address_basis = 'address')
           THEN CASE WHEN ki.set_id IS NOT NULL THEN 'principal'
                     WHEN l.initiator_known_until < l.first_seen THEN 'after_snapshot'
                     ELSE l.initiator_address_basis END
         WHEN oi.name_set IS NULL AND l.initiator_address_basis = 'address' THEN 'name_and_address'
         WHEN l.initiator_name_set = 'unknown' AND w.initiator_window IS NULL THEN 'not_found'
         WHEN l.initiator_name_set LIKE 'public:%' THEN 'network'
         ELSE 'name' END AS initiator_identity_basis,
    CASE WHEN l.responder_name_set = 'unknown' AND w.responder_window IS NOT NULL THEN NULL
         WHEN orr.name_set IS NOT NULL AND l.responder_address_basis = 'host_port' THEN NULL
         ELSE l.responder_name_set END AS responder_name_set,
    CASE WHEN l.responder_name_set IS NULL OR (orr.name_set IS NOT NULL AND l.responder_address_basis = 'host_port')
           OR (orr.name_set IS NULL AND l.responder_address_basis IN ('address', 'service', 'host_port'))
           THEN coalesce(kr.set_id, l.responder_address_set) END AS responder_address_set,
    w.responder_window,
    CASE WHEN l.responder_name_set IS NULL
           OR (l.responder_name_set = l.responder_address_set
               AND l.responder_address_basis IN ('address', 'service', 'host_port'))
           OR (orr.name_set IS NOT NULL AND l.responder_address_basis = 'host_port')
           THEN CASE WHEN kr.set_id IS NOT NULL THEN 'principal'
                     WHEN l.responder_known_until < l.first_seen THEN 'after_snapshot'
                     ELSE l.responder_address_basis END
         WHEN orr.name_set IS NULL AND l.responder_address_basis IN ('address', 'service', 'host_port')
           THEN 'name_and_address'
         WHEN l.responder_name_set = 'unknown' AND w.responder_window IS NULL THEN 'not_found'
         WHEN l.responder_name_set LIKE 'public:%' THEN 'network'
         ELSE 'name' END AS responder_identity_basis,
    l.cluster, CASE WHEN l.turned THEN l.initiator_ip ELSE l.responder_ip END AS dialled,
    l.protocol, l.source, l.reporter, l.action, l.connection_state, l.response_code, l.app_protocol,
    CASE WHEN l.hop = 'pod_internal' THEN 'pod_internal'
         WHEN l.hop = 'loopback' OR l.initiator_address_set = 'loopback' OR l.responder_address_set = 'loopback'
           OR l.initiator_ip = l.responder_ip THEN 'loopback' END AS off_wire,
    l.hop = 'outer_tunnel' AS outer_tunnel,
    CASE WHEN l.source IN ('pcap', 'zeek') AND l.hop <> 'wire' AND l.transport_seen = 'plaintext' THEN 'unknown'
         ELSE l.transport_seen END AS seen,
    CASE WHEN l.source IN ('pcap', 'zeek') AND l.hop <> 'wire' AND l.transport_seen = 'plaintext' THEN 'not_on_wire'
         ELSE l.transport_seen_basis END AS seen_basis,
    pi.principal IS NOT NULL AS trusted,
    -- A certificate of the mesh that names a service account none of the address's pods has: somebody is not who
    -- the other evidence says.
    fi.set_id IS NOT NULL AND ai.set_id IS NULL AS initiator_contradicted,
    fr.set_id IS NOT NULL AND ar.set_id IS NULL AS responder_contradicted,
    -- A pod that nobody saw, at an address of its own: none of those that its account's pods are known to have.
    (ki.set_id IS NOT NULL AND l.initiator_ip IS NOT NULL) OR (kr.set_id IS NOT NULL AND l.responder_ip IS NOT NULL)
      AS apart,
    coalesce(l.mesh_mtls, 'unknown') AS mesh_mtls,
    CASE WHEN l.turned THEN l.packets_received ELSE l.packets_sent END AS packets_sent,
    CASE WHEN l.turned THEN l.packets_sent ELSE l.packets_received END AS packets_received,
    l.payload_sent, l.payload_received,
    l.source = 'pcap' AND coalesce(l.protocol IN ('tcp', 'udp'), false)
      AND l.payload_sent IS NULL AND l.payload_received IS NULL AS cut_headers
  FROM (
    SELECT s.*, s.transport_seen_basis IN ('peer_uri', 'both_uris', 'mesh_identity') AS verified FROM located s
  ) l
  LEFT JOIN widened w ON w.segment = l.segment AND w.record = l.record
  LEFT JOIN set_overlap oi ON oi.name_set = l.initiator_name_set AND oi.address_set = l.initiator_address_set
  LEFT JOIN set_overlap orr ON orr.name_set = l.responder_name_set AND orr.address_set = l.responder_address_set
  LEFT JOIN principal pi ON pi.cluster = l.cluster AND pi.principal = l.initiator_principal
  LEFT JOIN principal pr ON pr.cluster = l.cluster AND pr.principal = l.responder_principal
  LEFT JOIN set_fact fi ON fi.set_id = CASE WHEN pi.namespace IS NOT NULL THEN l.initiator_address_set END AND fi.has_account
  LEFT JOIN set_fact fr ON fr.set_id = CASE WHEN pr.namespace IS NOT NULL THEN l.responder_address_set END AND fr.has_account
  LEFT JOIN account ai ON ai.set_id = l.initiator_address_set
    AND ai.namespace = pi.namespace AND ai.service_account = pi.service_account
  LEFT JOIN account ar ON ar.set_id = l.responder_address_set
    AND ar.namespace = pr.namespace AND ar.service_account = pr.service_account
  LEFT JOIN accounted ki ON ki.cluster = l.cluster
    AND ki.principal = CASE WHEN l.initiator_name_set IS NULL AND l.initiator_address_set = 'unknown' AND l.verified
                            THEN l.initiator_principal END
    AND l.first_seen >= ki.valid_from AND l.first_seen < ki.valid_to AND (ki.may_be_unseen OR l.initiator_ip IS NULL)
  LEFT JOIN account_port op ON op.cluster = l.cluster AND op.principal = l.responder_principal
    AND op.protocol = l.protocol
    AND op.port = CASE WHEN l.responder_address_set = 'unknown' AND l.verified THEN l.target_port END
    AND l.first_seen >= op.valid_from AND l.first_seen < op.valid_to
  LEFT JOIN accounted kr ON kr.cluster = l.cluster
    AND kr.principal = CASE WHEN l.responder_name_set IS NULL AND l.responder_address_set = 'unknown' AND l.verified
                              AND (op.port IS NOT NULL OR l.target_port IS NULL) THEN l.responder_principal END
    AND l.first_seen >= kr.valid_from AND l.first_seen < kr.valid_to AND (kr.may_be_unseen OR l.responder_ip IS NULL)
), joined AS (
  SELECT c.*,
    CASE WHEN c.initiator_window IS NULL AND (c.initiator_name_set IS NULL OR c.initiator_address_set IS NULL)
           THEN coalesce(c.initiator_name_set, c.initiator_address_set)
         ELSE 'either:' || coalesce(c.initiator_name_set, '') || '+' || coalesce(c.initiator_address_set, '') || '+'
           || coalesce(c.initiator_window, '') END AS initiator_all,
    CASE WHEN c.responder_window IS NULL AND (c.responder_name_set IS NULL OR c.responder_address_set IS NULL)
           THEN coalesce(c.responder_name_set, c.responder_address_set)
         ELSE 'either:' || coalesce(c.responder_name_set, '') || '+' || coalesce(c.responder_address_set, '') || '+'
           || coalesce(c.responder_window, '') END AS responder_all,
    -- Packets that the capture length cut inside their headers may have held some: such a flow is no bare probe.
    coalesce(c.payload_sent, 0) + coalesce(c.payload_received, 0) > 0 OR c.cut_headers AS has_payload,
    CASE WHEN c.source IN ('pcap', 'zeek') THEN 'tap'
         WHEN c.source IN ('envoy', 'ztunnel') AND c.reporter = 'responder' THEN 'responder_proxy'
         WHEN c.source IN ('envoy', 'ztunnel') AND c.reporter = 'initiator' THEN 'initiator_proxy'
         ELSE 'log' END AS evidence_origin,
    CASE
      -- ztunnel denies clear text on a STRICT port by a policy of its own; a parsed message is denied at layer 7.
      WHEN c.action = 'denied'
        THEN CASE WHEN c.source = 'ztunnel' AND c.connection_state = 'refused' THEN 'refused'
                  WHEN c.source IN ('envoy', 'ztunnel') THEN 'blocked_l7'
                  WHEN c.source = 'hubble' AND c.app_protocol IS NOT NULL THEN 'blocked_l7'
                  ELSE 'blocked' END
      WHEN c.connection_state = 'refused' THEN 'refused'
      WHEN c.connection_state = 'attempted' THEN 'attempted'
      WHEN c.source = 'envoy' AND c.response_code > 0
        THEN CASE WHEN c.connection_state = 'established' THEN 'served' ELSE 'unknown' END
      WHEN c.seen_basis = 'tls_failed' THEN 'refused'
      WHEN c.payload_sent > 0 AND c.payload_received > 0 THEN 'served'
      WHEN c.cut_headers THEN 'unknown'
      WHEN c.connection_state IN ('established', 'reset') THEN 'reached'
      WHEN c.packets_sent > 0 AND c.packets_received > 0 THEN 'reached'
      WHEN c.connection_state IS NULL AND c.packets_received > 0 THEN 'reached'
      WHEN c.connection_state IS NULL AND c.packets_sent > 0 AND c.packets_received = 0 THEN 'attempted'
      ELSE 'unknown'
    END AS outcome
  FROM chosen c
), told AS (
  SELECT j.*, j.responder_all AS responder_set,
    coalesce(ni.has_node, false) OR coalesce(ai.has_node, false) AS from_node,
    coalesce(ni.has_pod_address, false) OR coalesce(ai.has_pod_address, false) AS from_pod,
    coalesce(nr.has_pod_address, false) OR coalesce(ar.has_pod_address, false) AS to_pod,
    -- A pod that dials a port of another node's leaves its own node masqueraded, whoever answers there.
    (coalesce(nr.has_pod_address, false) OR coalesce(ar.has_pod_address, false)) AND NOT coalesce(dr.has_node, false)
      AS to_pod_itself,
    -- Pods that nothing tells apart are one combination; of whom a rule may ask for the node, it counts. Sets made here
    -- are not looked up again: whether such a set has the other end in it is seen where all candidates are.
    CASE WHEN NOT j.made_here THEN coalesce(ni.class, ai.class) END AS initiator_class,
    CASE WHEN NOT j.made_here THEN coalesce(nr.class, ar.class) END AS responder_class,
    CASE WHEN NOT j.made_here THEN coalesce(nr.class_on_node, ar.class_on_node) END AS responder_class_on_node,
    -- Tunnels run between nodes: bytes that look like one are no excuse for a pod that is dialled at its own address.
    -- A proxy that says so knows: its tunnels end at pods.
    j.outer_tunnel AND (j.source <> 'pcap' OR NOT (coalesce(nr.has_pod_address, false) OR coalesce(ar.has_pod_address, false))) AS tunnel
  FROM (SELECT *, initiator_all LIKE 'either:%' OR responder_all LIKE 'either:%'
          OR initiator_all LIKE 'account:%' OR responder_all LIKE 'account:%' AS made_here FROM joined) j
  LEFT JOIN set_fact ni ON ni.set_id = j.initiator_name_set
  LEFT JOIN set_fact ai ON ai.set_id = j.initiator_address_set
  LEFT JOIN set_fact nr ON nr.set_id = j.responder_name_set
  LEFT JOIN set_fact ar ON ar.set_id = j.responder_address_set
  LEFT JOIN set_fact dr ON dr.set_id = j.responder_dialled_set
), decided AS (
  -- Flows share such a set only where no pod that the node may hide came or went between them; where later holders are
  -- in it too, each flow has its own.
  SELECT t.*,
    CASE WHEN NOT t.from_node OR t.to_pod_itself THEN t.initiator_all
         ELSE 'behind:' || t.initiator_all || '@'
           || CASE WHEN t.initiator_window IS NOT NULL THEN t.segment || '-' || CAST(t.record AS VARCHAR)
                   ELSE coalesce(CAST(nb.valid_from AS VARCHAR), '') || coalesce(CAST(ab.valid_from AS VARCHAR), '') || '-'
                     || coalesce(CAST(ne.valid_from AS VARCHAR), '') || coalesce(CAST(ae.valid_from AS VARCHAR), '') END
           || coalesce('!' || u.why, '')
    END AS initiator_set
  FROM told t
  LEFT JOIN population nb ON nb.set_id = CASE WHEN t.from_node AND NOT t.to_pod_itself THEN t.initiator_name_set END
    AND t.first_seen >= nb.valid_from AND t.first_seen < nb.valid_to
  LEFT JOIN population ab ON ab.set_id = CASE WHEN t.from_node AND NOT t.to_pod_itself THEN t.initiator_address_set END
    AND t.first_seen >= ab.valid_from AND t.first_seen < ab.valid_to
  LEFT JOIN population ne ON ne.set_id = CASE WHEN t.from_node AND NOT t.to_pod_itself THEN t.initiator_name_set END
    AND t.until >= ne.valid_from AND t.until < ne.valid_to
  LEFT JOIN population ae ON ae.set_id = CASE WHEN t.from_node AND NOT t.to_pod_itself THEN t.initiator_address_set END
    AND t.until >= ae.valid_from AND t.until < ae.valid_to
  LEFT JOIN unmasqueraded u ON u.cluster = t.cluster
    AND u.address = CASE WHEN t.from_node AND NOT t.to_pod_itself THEN t.dialled END
    AND t.first_seen >= u.valid_from AND t.until < u.valid_to
), classed AS (
  SELECT d.*,
    CASE WHEN d.off_wire IS NOT NULL OR d.tunnel OR d.initiator_contradicted OR d.responder_contradicted
           OR NOT d.firm OR d.responder_set = 'unknown'
           OR (d.target_port IS NULL AND d.protocol IN ('tcp', 'udp', 'sctp')) OR d.protocol IS NULL THEN NULL
         ELSE coalesce(d.initiator_class, d.initiator_set) END AS asks,
    CASE WHEN d.responder_class IS NULL THEN d.responder_set
         WHEN d.initiator_class IS NULL THEN d.responder_class_on_node
         ELSE d.responder_class END AS answers,
    CASE WHEN d.initiator_class IS NOT NULL AND d.responder_class IS NOT NULL THEN d.initiator_set = d.responder_set
         WHEN d.initiator_set LIKE 'supposed:%' OR d.apart THEN false
         WHEN d.initiator_class IS NULL AND d.responder_class IS NULL THEN true
         -- What leads back to the pod it came from is masqueraded.
         WHEN d.from_node THEN true
         ELSE m.set_id IS NOT NULL END AS may_be_itself
  FROM decided d
  LEFT JOIN set_mate m ON m.set_id = CASE WHEN d.responder_class IS NULL AND d.to_pod
                                        THEN CASE WHEN d.initiator_class IS NOT NULL THEN d.initiator_set END
                                      WHEN d.initiator_class IS NULL AND d.from_pod AND NOT d.from_node
                                        THEN d.responder_set END
    AND m.crowd = CASE WHEN d.responder_class IS NULL THEN d.responder_set ELSE d.initiator_set END
)
SELECT d.segment, d.record, d.first_seen, d.until, d.turned, d.firm, d.off_wire, d.tunnel, d.initiator_contradicted,
  d.responder_contradicted,
  d.initiator_set, d.initiator_name_set, d.initiator_address_set, d.initiator_identity_basis,
  d.responder_set, d.responder_name_set, d.responder_address_set, d.responder_identity_basis,
  d.protocol, d.target_port, d.responder_service, d.seen, d.seen_basis, d.trusted, d.has_payload, d.mesh_mtls,
  d.evidence_origin, d.outcome, e.begins AS era, d.may_be_itself,
  CASE WHEN d.asks IS NOT NULL
       THEN concat_ws('>', d.asks, d.answers, d.protocol, coalesce(CAST(d.target_port AS VARCHAR), '-'), d.seen,
         d.seen_basis, CASE WHEN d.trusted THEN 't' ELSE 'f' END, CASE WHEN d.has_payload THEN 't' ELSE 'f' END,
         CASE WHEN d.may_be_itself THEN 't' ELSE 'f' END, d.mesh_mtls, CAST(e.begins AS VARCHAR)) END AS combination
FROM classed d
LEFT JOIN era e ON e.always = CASE WHEN d.first_seen IS NOT NULL THEN 1 END
  AND d.first_seen >= e.begins AND (e.ends IS NULL OR d.first_seen < e.ends)
