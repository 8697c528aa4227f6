-- Nexmark query 0 as one batch.
SELECT auction, bidder, price, date_time, extra
FROM bid
