-- Nexmark query 10, log to files: each bid with the day and the minute whose file it belongs to.
SELECT auction, bidder, price, date_time, extra, to_char(date_time, 'YYYY-MM-DD') AS day, to_char(date_time, 'HH24:MI') AS minute
FROM bid
EMIT CHANGES;
