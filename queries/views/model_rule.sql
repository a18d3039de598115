-- says: The rules in force, one row per initiator and responder term.
-- reads: rule, rule_grant
-- returns: rule_id, kind, from_term, to_term, protocol, port_lo, port_hi, port_class, transport, transport_provenance, revoked_by, says, source, model
-- one row per: rule_id, from_term, to_term, protocol, port_lo, port_class
SELECT u.rule_id, u.kind, g.from_term, g.to_term, g.protocol, g.port_lo, g.port_hi, g.port_class, u.transport,
  u.transport_provenance, u.revoked_by, u.says, u.source, u.model
FROM rule u JOIN rule_grant g ON g.rule_id = u.rule_id
