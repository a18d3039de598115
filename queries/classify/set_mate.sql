-- says: The larger sets that a pod judged as one of its class is in: where it may meet itself.
-- reads: set_class, set_member
-- returns: set_id, crowd
-- one row per: set_id, crowd
SELECT DISTINCT k.set_id, m.set_id AS crowd
FROM set_class k
JOIN set_member a ON a.set_id = k.set_id
JOIN set_member m ON m.party_id = a.party_id AND m.set_id <> k.set_id
