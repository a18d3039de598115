-- says: What the sources that were given cannot show, whatever happened, and how many flows of the window are of such a source.
-- reads: flow, asked
-- returns: class, flows
-- one row per: class
WITH shown AS (
  SELECT f.source, f.reporter, f.hop, f.protocol, f.responder_port, f.transport_basis
  FROM flow f CROSS JOIN asked a
  WHERE (a.since IS NULL OR coalesce(f.last_seen, f.first_seen) >= a.since) AND (a.until IS NULL OR f.first_seen < a.until)
), blind AS (
  SELECT 'no_tls_in_log' AS class FROM shown WHERE source IN ('calico', 'hubble') AND transport_basis = 'not_recorded'
  UNION ALL SELECT 'format_silent' FROM shown WHERE source = 'envoy' AND transport_basis = 'format_silent'
  UNION ALL SELECT 'failed_handshake' FROM shown WHERE source = 'envoy' AND reporter = 'responder'
  UNION ALL SELECT 'captured_ports_only' FROM shown WHERE source = 'envoy'
  UNION ALL SELECT 'certificate_hidden' FROM shown WHERE source IN ('pcap', 'zeek')
  UNION ALL SELECT 'port_aggregated' FROM shown
    WHERE source = 'calico' AND responder_port IS NULL AND protocol IN ('tcp', 'udp', 'sctp')
  UNION ALL SELECT 'tunnel' FROM shown WHERE hop = 'outer_tunnel'
)
SELECT b.class, count(*) AS flows FROM blind b GROUP BY b.class ORDER BY b.class
