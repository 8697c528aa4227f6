-- Nexmark query 7, highest bid: what was the highest price of each ten seconds?
--
-- The original also names the bids that reached that price, by joining the windows with the bids again:
--   SELECT b.auction, b.price, b.bidder, b.date_time
--   FROM bid b JOIN (… this query …) m
--     ON b.price = m.max_price AND b.date_time >= m.window_start AND b.date_time < m.window_end
SELECT window_start, window_end, max(price) AS max_price
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;
