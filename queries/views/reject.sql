-- says: Every input record that could not be used, with its place and the reason.
-- reads: rejects, receipts
-- returns: segment, name, record, reason, detail, raw
-- one row per: segment, record, reason
-- Only segments with a receipt are shown: an interrupted ingest leaves nothing visible.
SELECT j.segment, n.name, j.record, j.reason, j.detail, j.raw
FROM rejects j
JOIN (SELECT segment, min(name) AS name FROM receipts GROUP BY segment) n ON n.segment = j.segment
