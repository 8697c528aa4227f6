-- Tidemill query upd as one batch: the counts at the end, not those on the way.
SELECT auction, count(*) AS bids
FROM bid
GROUP BY auction
