-- says: Every flow of the exchange that a flow is of: who recorded it, and what it says.
-- reads: exchange_flow, flow, verdict
-- params: flow_id
-- returns: flow_id, exchange_id, joined_by, source, reporter, reporter_name, first_seen, last_seen, packets, bytes, action, outcome, verdict, reason, rule_id, transport, transport_basis, transport_grade, transport_status
-- one row per: flow_id
SELECT f.flow_id, e.exchange_id, e.joined_by, f.source, f.reporter, f.reporter_name, f.first_seen, f.last_seen,
  f.packets_sent + f.packets_received AS packets, f.bytes_sent + f.bytes_received AS bytes, f.action, f.outcome,
  v.verdict, v.reason, v.rule_id, f.transport, f.transport_basis, f.transport_grade, v.transport_status
FROM exchange_flow e
JOIN flow f ON f.flow_id = e.flow_id
JOIN verdict v ON v.flow_id = e.flow_id
WHERE e.exchange_id IN (SELECT exchange_id FROM exchange_flow WHERE flow_id = $flow_id)
ORDER BY f.first_seen, f.flow_id
