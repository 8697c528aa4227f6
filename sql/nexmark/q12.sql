-- Nexmark query 12, windows of processing time: how much did each bidder bid in ten seconds of the clock?
SELECT bidder, window_start, window_end, count(*) AS bids
FROM TUMBLE((SELECT bidder, PROCTIME() AS seen FROM bid), seen, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
EMIT ON WINDOW CLOSE;
