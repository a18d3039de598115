-- says: Ports that pods declare that ran under a service account which is to tell who an end was.
-- reads: account_life, party_port
-- returns: cluster, namespace, service_account, protocol, port
-- one row per: cluster, namespace, service_account, protocol, port
SELECT DISTINCT l.cluster, l.namespace, l.service_account, p.protocol, p.port
FROM account_life l JOIN party_port p ON p.party_id = l.party_id
