-- says: What `--fail-on` looks at: exchanges per condition.
-- reads: reported
-- returns: plaintext, unexpected, unexpected_any, unknown, amended, disputed
-- one row per: query
-- Plaintext means any violation that some source tells of, refused and disputed ones included; unexpected means it was
-- not kept away.
SELECT
  count(CASE WHEN violations > 0 THEN 1 END) AS plaintext,
  count(CASE WHEN exchange_verdict = 'unexpected' AND outcome NOT IN ('blocked', 'blocked_l7', 'refused', 'attempted')
        THEN 1 END) AS unexpected,
  count(CASE WHEN exchange_verdict = 'unexpected' THEN 1 END) AS unexpected_any,
  count(CASE WHEN exchange_verdict = 'unknown' THEN 1 END) AS unknown,
  count(CASE WHEN exchange_verdict = 'expected' AND rule_status = 'amended' THEN 1 END) AS amended,
  count(CASE WHEN transport_status = 'disputed' THEN 1 END) AS disputed
FROM reported
