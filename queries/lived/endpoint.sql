-- says: Who answered on which address and port at some moment of these flows.
-- reads: every_endpoint, span
-- returns: cluster, address, protocol, port, valid_from, valid_to, known_until, set_id, target_port, service, basis
-- one row per: cluster, address, protocol, port, valid_from
SELECT p.cluster, p.address, p.protocol, p.port, p.valid_from, p.valid_to, p.known_until, p.set_id, p.target_port,
  p.service, p.basis
FROM every_endpoint p JOIN span s ON p.valid_from <= s.until AND p.valid_to > s.since
