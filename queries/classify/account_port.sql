-- says: Ports that those pods declare who ran under a service account at one time, which is to tell who an end was.
-- reads: accounted, account_life, party, party_port
-- returns: cluster, principal, valid_from, valid_to, protocol, port
-- one row per: cluster, principal, valid_from, protocol, port
-- Of the flow's own moment: what ran later says nothing of it, whichever flows are judged together.
SELECT DISTINCT k.cluster, k.principal, k.valid_from, k.valid_to, x.protocol, x.port
FROM accounted k
JOIN account_life l ON l.cluster = k.cluster AND l.namespace = k.namespace AND l.service_account = k.service_account
  AND l.valid_from <= k.valid_from AND l.valid_to > k.valid_from
JOIN party p ON p.party_id = l.party_id
JOIN party_port x ON x.profile = p.profile
