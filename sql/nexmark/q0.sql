-- Nexmark query 0, pass through: how fast can bids be read and handed on as they are?
SELECT auction, bidder, price, date_time, extra
FROM bid
EMIT CHANGES;
