-- says: Exchanges and flows by verdict, transport status and the kind of rule they rest on.
-- reads: reported
-- returns: verdict, transport_status, rule_status, exchanges, flows
-- one row per: verdict, transport_status, rule_status
SELECT exchange_verdict AS verdict, transport_status, rule_status, count(*) AS exchanges,
  CAST(sum(flows) AS BIGINT) AS flows
FROM reported
GROUP BY ALL
ORDER BY ALL
