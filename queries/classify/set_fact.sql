-- says: What identification asks of the sets that may have held something while these flows began.
-- reads: span, set_told
-- returns: set_id, has_node, has_pod_address, has_account, class, class_on_node
-- one row per: set_id
-- Few of all sets are alive in one hour: whatever joins flows is kept as small as that.
SELECT t.set_id, t.has_node, t.has_pod_address, t.has_account, t.class, t.class_on_node
FROM set_told t JOIN span s ON t.since <= s.until AND t.until > s.since
