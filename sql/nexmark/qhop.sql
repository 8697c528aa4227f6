-- Tidemill query hop, sliding windows: how did each auction go in the last minute, second by second?
SELECT window_start, window_end, auction, count(*) AS bids, sum(price) AS total
FROM HOP(bid, date_time, INTERVAL '1 second', INTERVAL '60 seconds')
GROUP BY window_start, window_end, auction
EMIT ON WINDOW CLOSE;
