-- says: What was ingested: one row per name as given and segment, with sizes, byte range, counts and damage.
-- reads: receipts
-- returns: name, segment, format, cluster, reporter_name, digest, stream, offset_from, offset_to, bytes, records_read, records_in_flows, flows, skipped, rejected, damage, unfinished_bytes, first_seen, last_seen, ingested_at
-- one row per: name, segment
SELECT r.name, r.segment, r.format, r.cluster, r.reporter_name, r.digest, r.stream, r.offset_from, r.offset_to, r.bytes,
  r.records_read, r.records_in_flows, r.flows, r.skipped, r.rejected, r.damage, r.unfinished_bytes, r.first_seen,
  r.last_seen, r.ingested_at
FROM receipts r
