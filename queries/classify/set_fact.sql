-- says: What identification asks of the sets that held something while these flows began.
-- reads: span, holding, endpoint, named, set_told
-- returns: set_id, has_node, has_pod_address, has_account, class, class_on_node
-- one row per: set_id
-- Few of all sets are alive in one hour: whatever joins flows is kept as small as that.
WITH alive AS (
  SELECT h.set_id FROM holding h JOIN span s ON h.valid_from <= s.until AND h.valid_to > s.since
  UNION
  SELECT p.set_id FROM endpoint p JOIN span s ON p.valid_from <= s.until AND p.valid_to > s.since
  UNION
  SELECT n.set_id FROM named n JOIN span s ON n.valid_from <= s.until AND n.valid_to > s.since
), near AS (
  SELECT t.set_id, t.has_node, t.has_pod_address, t.has_account, t.class, t.class_on_node
  FROM set_told t JOIN span s ON t.since <= s.until AND t.until > s.since
)
SELECT n.set_id, n.has_node, n.has_pod_address, n.has_account, n.class, n.class_on_node
FROM near n JOIN alive a ON a.set_id = n.set_id
