-- says: Components and peers whose pods are known and that no pod of the snapshots belongs to.
-- reads: component, selector, party_component
-- returns: component, in_scope
-- one row per: component
-- cannot tell: pods that ran only between two snapshots.
SELECT c.component, c.in_scope
FROM component c
JOIN (SELECT DISTINCT component FROM selector) s ON s.component = c.component
ANTI JOIN (SELECT DISTINCT component FROM party_component) p ON p.component = c.component
ORDER BY c.component
