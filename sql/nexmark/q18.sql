-- Nexmark query 18, last bid: what did each bidder bid last for each auction?
SELECT auction, bidder, price, channel, url, date_time
FROM (
  SELECT auction, bidder, price, channel, url, date_time,
    row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC) AS place
  FROM bid
) AS bids
WHERE place <= 1
EMIT CHANGES;
