-- says: What `--fail-on` looks at: exchanges per condition, without those that a baseline has the same or worse.
-- reads: edge, baseline
-- returns: plaintext, unexpected, unexpected_any, unknown, amended, disputed
-- one row per: query
-- cannot tell: whether an amended exchange is new: reports do not list those by edge, so they always count, as does plaintext that took place on an edge whose verdict was unknown.
-- Plaintext means any violation that some source tells of, refused and disputed ones included; unexpected means it was
-- not kept away. What took place is not known by an attempt, nor plaintext by an edge on which it was not seen.
WITH told AS (
  SELECT row_number() OVER () AS place, e.*,
    e.outcome IN ('blocked', 'blocked_l7', 'refused', 'attempted') AS kept_away
  FROM edge e
), before AS (
  SELECT t.place, b.verdict, b.transport_status,
    (t.reason IN ('not_mutual', 'tls_missing')) = (b.reason IN ('not_mutual', 'tls_missing')) AS alike,
    b.transport_status = 'violated' OR b.transport_status IS NOT DISTINCT FROM t.transport_status AS as_clear,
    t.kept_away OR b.outcome NOT IN ('blocked', 'blocked_l7', 'refused', 'attempted') AS as_far
  FROM told t
  JOIN baseline b ON b.initiator = t.initiator AND b.responder = t.responder AND b.protocol = t.protocol
    AND b.port IS NOT DISTINCT FROM t.port AND (b.cluster IS NULL OR b.cluster = t.cluster)
), known AS (
  SELECT place, max(CASE WHEN as_clear AND as_far THEN 1 END) AS plaintext,
    max(CASE WHEN verdict = 'unexpected' AND alike AND as_clear AND as_far THEN 1 END) AS unexpected_clear,
    max(CASE WHEN verdict = 'unexpected' AND alike AND as_far THEN 1 END) AS unexpected,
    max(CASE WHEN verdict = 'unknown' THEN 1 END) AS unknown,
    max(CASE WHEN transport_status = 'disputed' THEN 1 END) AS disputed
  FROM before
  GROUP BY place
), counted AS (
  SELECT t.verdict, t.rule_status, t.transport_status, t.kept_away, t.exchanges,
    CASE WHEN k.plaintext IS NULL THEN t.violating ELSE 0 END AS plaintext,
    CASE WHEN k.unexpected_clear IS NULL AND (k.unexpected IS NULL OR t.violating > 0) THEN t.exchanges ELSE 0
      END AS unexpected,
    CASE WHEN k.unknown IS NULL THEN t.exchanges ELSE 0 END AS unknown,
    CASE WHEN k.disputed IS NULL THEN t.exchanges ELSE 0 END AS disputed
  FROM told t LEFT JOIN known k ON k.place = t.place
)
SELECT
  CAST(coalesce(sum(plaintext), 0) AS BIGINT) AS plaintext,
  CAST(coalesce(sum(CASE WHEN verdict = 'unexpected' AND NOT kept_away THEN unexpected END), 0) AS BIGINT)
    AS unexpected,
  CAST(coalesce(sum(CASE WHEN verdict = 'unexpected' THEN unexpected END), 0) AS BIGINT) AS unexpected_any,
  CAST(coalesce(sum(CASE WHEN verdict = 'unknown' THEN unknown END), 0) AS BIGINT) AS unknown,
  CAST(coalesce(sum(CASE WHEN verdict = 'expected' AND rule_status = 'amended' THEN exchanges END), 0) AS BIGINT)
    AS amended,
  CAST(coalesce(sum(CASE WHEN transport_status = 'disputed' THEN disputed END), 0) AS BIGINT) AS disputed
FROM counted
