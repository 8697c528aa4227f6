-- Tidemill query k as one batch: TUMBLE is date_bin.
SELECT window_start, window_start + INTERVAL '10 seconds' AS window_end, auction,
       count(*) AS bids, sum(price) AS total, max(price) AS highest, avg(price) AS average
FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS window_start, auction, price FROM bid)
GROUP BY window_start, auction
