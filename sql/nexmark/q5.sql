-- Nexmark query 5, hot items: which auctions had the most bids in the last ten seconds, every two seconds?
WITH counts AS (
  SELECT window_start, window_end, auction, count(*) AS bids
  FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY window_start, window_end, auction
)
SELECT c.window_start, c.window_end, c.auction, c.bids
FROM counts AS c
JOIN (SELECT window_start, window_end, max(bids) AS most FROM counts GROUP BY window_start, window_end) AS m
  ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.bids = m.most
EMIT ON WINDOW CLOSE;
