-- says: Every rule that allows a pair of candidates, best first.
-- reads: rule_match, rule
-- returns: initiator_party, responder_party, place, rule_id, kind, transport, revoked_by, says, source
-- one row per: initiator_party, responder_party, rule_id
SELECT m.initiator_party, m.responder_party, m.place, m.rule_id, m.kind, m.transport, m.revoked_by, u.says, u.source
FROM rule_match m JOIN rule u ON u.rule_id = m.rule_id
ORDER BY ALL
