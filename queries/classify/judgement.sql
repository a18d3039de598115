-- says: One judgement per combination: what holds for every pair of candidates, or unknown and which end would decide it.
-- reads: pair_judgement, combination
-- returns: combination, verdict, reason, rule_id, rule_status, transport_required, transport_status, transport, transport_basis, transport_grade
-- one row per: combination
-- Rule, transport and verdict part or agree independently of each other.
-- Out of scope for two different reasons is two different judgements: a component's egress is listed, a stranger's is not.
WITH spread AS (
  SELECT p.combination,
    count(DISTINCT p.verdict || CASE WHEN p.verdict = 'out_of_scope' THEN p.reason ELSE '' END) AS verdicts,
    min(p.verdict) AS verdict, max(p.reason) AS reason,
    count(DISTINCT p.rule_status) AS rule_statuses, min(p.rule_status) AS rule_status,
    count(DISTINCT coalesce(p.rule_id, '-')) AS rules, min(p.rule_id) AS rule_id,
    count(DISTINCT coalesce(p.transport_required, '-')) AS requirements,
    count(DISTINCT coalesce(p.transport_status, '-')) AS statuses,
    min(p.transport_required) AS transport_required, min(p.transport_status) AS transport_status,
    count(DISTINCT p.transport) AS transports,
    CASE WHEN count(DISTINCT p.transport) > 1 THEN max(CASE WHEN p.transport = 'tls' THEN p.transport_basis END)
         ELSE max(p.transport_basis) END AS transport_basis,
    max(p.transport) AS transport, max(p.transport_grade) AS transport_grade
  FROM pair_judgement p
  GROUP BY p.combination
), per_responder AS (
  SELECT p.combination, p.responder_party,
    count(DISTINCT p.verdict || CASE WHEN p.verdict = 'out_of_scope' THEN p.reason ELSE '' END) AS verdicts
  FROM pair_judgement p
  GROUP BY p.combination, p.responder_party
), parting AS (
  SELECT r.combination, max(r.verdicts) > 1 AS by_initiator FROM per_responder r GROUP BY r.combination
)
SELECT s.combination,
  CASE WHEN s.verdicts = 1 THEN s.verdict ELSE 'unknown' END AS verdict,
  CASE WHEN s.verdicts = 1 THEN s.reason
       WHEN p.by_initiator AND c.initiator_set = 'unknown' THEN 'initiator_unknown'
       WHEN p.by_initiator THEN 'initiator_ambiguous'
       ELSE 'responder_ambiguous' END AS reason,
  CASE WHEN s.rules = 1 THEN s.rule_id END AS rule_id,
  CASE WHEN s.rule_statuses = 1 THEN s.rule_status ELSE 'undecided' END AS rule_status,
  CASE WHEN s.requirements = 1 THEN s.transport_required ELSE 'unknown' END AS transport_required,
  CASE WHEN s.requirements > 1 THEN 'requirement_unknown'
       WHEN s.statuses = 1 THEN s.transport_status ELSE 'unverified' END AS transport_status,
  CASE WHEN s.transports = 1 THEN s.transport ELSE 'tls' END AS transport,
  s.transport_basis,
  CASE WHEN s.transports = 1 THEN s.transport_grade ELSE 'proven' END AS transport_grade
FROM spread s
JOIN parting p ON p.combination = s.combination
JOIN combination c ON c.combination = s.combination
