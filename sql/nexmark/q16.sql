-- Nexmark query 16, channel statistics: the same by channel.
SELECT channel, to_char(date_time, 'YYYY-MM-DD') AS day, max(to_char(date_time, 'HH24:MI')) AS minute,
  count(*) AS total_bids,
  count(*) FILTER (WHERE price < 10000) AS rank1_bids,
  count(DISTINCT bidder) AS total_bidders,
  count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
  count(DISTINCT auction) AS total_auctions
FROM bid
GROUP BY channel, to_char(date_time, 'YYYY-MM-DD')
EMIT CHANGES;
