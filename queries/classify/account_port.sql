-- says: Ports that pods declare that ran under a service account which is to tell who an end was.
-- reads: account_life, party, party_port
-- returns: cluster, namespace, service_account, protocol, port
-- one row per: cluster, namespace, service_account, protocol, port
SELECT DISTINCT l.cluster, l.namespace, l.service_account, x.protocol, x.port
FROM (SELECT DISTINCT cluster, namespace, service_account, party_id FROM account_life) l
JOIN party p ON p.party_id = l.party_id
JOIN party_port x ON x.profile = p.profile
