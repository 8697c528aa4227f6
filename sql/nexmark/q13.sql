-- Nexmark query 13, bounded side input: what does a static table say about each bid's auction?
--
-- side_input(key BIGINT, value TEXT) is a static table with the keys 0 … 9999.
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b
JOIN side_input AS s ON b.auction % 10000 = s.key
EMIT CHANGES;
