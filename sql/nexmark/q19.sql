-- Nexmark query 19, auction top ten: which were the highest bids for each auction?
SELECT auction, bidder, price, date_time, place
FROM (
  SELECT auction, bidder, price, date_time,
    row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder) AS place
  FROM bid
) AS bids
WHERE place <= 10
EMIT CHANGES;
