-- says: The service accounts of each set's pods: whom a certificate may speak for.
-- reads: set_member, party
-- returns: set_id, namespace, service_account
-- one row per: set_id, namespace, service_account
SELECT DISTINCT m.set_id, p.namespace, p.service_account
FROM set_member m JOIN party p ON p.party_id = m.party_id
WHERE p.service_account IS NOT NULL
