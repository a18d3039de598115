-- says: The words by which rules may speak of the candidates that these flows' ends may stand for.
-- reads: set_candidate, candidate_term
-- returns: party_id, term
-- one row per: party_id, term
SELECT t.party_id, t.term
FROM candidate_term t JOIN (SELECT DISTINCT party_id FROM set_candidate) a ON a.party_id = t.party_id
