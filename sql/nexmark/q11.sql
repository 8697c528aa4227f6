-- Nexmark query 11, user sessions: how much did each bidder bid before pausing for ten seconds?
SELECT bidder, window_start, window_end, count(*) AS bids
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
EMIT ON WINDOW CLOSE;
