-- Tidemill query upd, running state per key: how many bids has each auction had so far?
SELECT auction, count(*) AS bids
FROM bid
GROUP BY auction
EMIT CHANGES;
