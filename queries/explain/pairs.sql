-- says: How each pair of candidates was judged.
-- reads: pair_judgement
-- returns: initiator_party, responder_party, verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, transport_basis, transport_grade
-- one row per: initiator_party, responder_party
SELECT initiator_party, responder_party, verdict, reason, rule_id, rule_status, transport_required, transport_status,
  transport, transport_basis, transport_grade
FROM pair_judgement
ORDER BY ALL
