-- Tidemill query k, keyed aggregates: how did each auction go in each ten seconds?
SELECT window_start, window_end, auction,
       count(*) AS bids, sum(price) AS total, max(price) AS highest, avg(price) AS average
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
GROUP BY window_start, window_end, auction
EMIT ON WINDOW CLOSE;
