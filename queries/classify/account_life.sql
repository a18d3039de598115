-- says: When each pod lived that ran under a service account which is to tell who an end was.
-- reads: unheld_account, party, set_member, named
-- returns: cluster, namespace, service_account, party_id, valid_from, valid_to
-- one row per: cluster, party_id, valid_from, valid_to
SELECT DISTINCT p.cluster, p.namespace, p.service_account, p.party_id, n.valid_from, n.valid_to
FROM (SELECT DISTINCT namespace, service_account FROM unheld_account) a
JOIN party p ON p.namespace = a.namespace AND p.service_account = a.service_account AND p.kind = 'pod'
JOIN set_member m ON m.party_id = p.party_id
JOIN named n ON n.set_id = m.set_id AND n.cluster = p.cluster AND n.key = 'pod:' || p.namespace || '/' || p.pod
