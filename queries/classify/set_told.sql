-- says: What identification asks of a set that ever held something, and when that was.
-- reads: set_life, set_trait, set_account, set_class
-- returns: set_id, since, until, has_node, has_pod_address, has_account, class, class_on_node
-- one row per: set_id
SELECT l.set_id, l.since, l.until, coalesce(t.has_node, false) AS has_node,
  coalesce(t.has_pod_address, false) AS has_pod_address, c.set_id IS NOT NULL AS has_account, k.class, k.class_on_node
FROM set_life l
LEFT JOIN set_trait t ON t.set_id = l.set_id
LEFT JOIN (SELECT DISTINCT set_id FROM set_account) c ON c.set_id = l.set_id
LEFT JOIN set_class k ON k.set_id = l.set_id
