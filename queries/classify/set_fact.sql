-- says: What identification asks of the sets that held something while these flows began.
-- reads: recorded, holding, endpoint, named, set_trait, set_account, set_class
-- returns: set_id, has_node, has_pod_address, has_account, class, class_on_node
-- one row per: set_id
-- Few of all sets are alive in one hour: whatever joins flows is kept as small as that.
WITH span AS (
  SELECT min(first_seen) AS since, max(first_seen) AS until FROM recorded
), alive AS (
  SELECT h.set_id FROM holding h JOIN span s ON h.valid_from <= s.until AND h.valid_to > s.since
  UNION
  SELECT p.set_id FROM endpoint p JOIN span s ON p.valid_from <= s.until AND p.valid_to > s.since
  UNION
  SELECT n.set_id FROM named n JOIN span s ON n.valid_from <= s.until AND n.valid_to > s.since
), trait AS (
  SELECT t.set_id, t.has_node, t.has_pod_address FROM alive a JOIN set_trait t ON t.set_id = a.set_id
), account AS (
  SELECT DISTINCT c.set_id FROM alive a JOIN set_account c ON c.set_id = a.set_id
), class AS (
  SELECT c.set_id, c.class, c.class_on_node FROM alive a JOIN set_class c ON c.set_id = a.set_id
)
SELECT a.set_id, coalesce(t.has_node, false) AS has_node, coalesce(t.has_pod_address, false) AS has_pod_address,
  c.set_id IS NOT NULL AS has_account, k.class, k.class_on_node
FROM alive a
LEFT JOIN trait t ON t.set_id = a.set_id
LEFT JOIN account c ON c.set_id = a.set_id
LEFT JOIN class k ON k.set_id = a.set_id
