-- Nexmark query 7 as one batch: TUMBLE is date_bin.
SELECT window_start, window_start + INTERVAL '10 seconds' AS window_end, max(price) AS max_price
FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS window_start, price FROM bid)
GROUP BY window_start
