-- says: The ports that the mesh captures of those who held anything meanwhile.
-- reads: every_party_capture, party
-- returns: party_id, port_lo, port_hi, proxy
-- one row per: party_id, port_lo
SELECT x.party_id, x.port_lo, x.port_hi, x.proxy
FROM every_party_capture x JOIN party p ON p.party_id = x.party_id
