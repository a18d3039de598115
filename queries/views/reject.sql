-- says: Every input record that could not be used, with its place and the reason; sum(records) counts them.
-- reads: rejects, receipts
-- returns: segment, name, record, reason, detail, raw, records
-- one row per: segment, record, reason
-- Only segments with a receipt are shown: an interrupted ingest leaves nothing visible.
SELECT j.segment, n.name, j.record, j.reason, j.detail, j.raw, j.records
FROM rejects j
JOIN (SELECT segment, min(name) AS name FROM receipts GROUP BY segment) n ON n.segment = j.segment
