-- Nexmark query 8 as one batch: TUMBLE is date_bin.
SELECT p.window_start, p.window_start + INTERVAL '10 seconds' AS window_end, p.id, p.name
FROM (SELECT DISTINCT date_bin(INTERVAL '10 seconds', date_time) AS window_start, id, name FROM person) AS p
JOIN (SELECT DISTINCT date_bin(INTERVAL '10 seconds', date_time) AS window_start, seller FROM auction) AS a
  ON p.id = a.seller AND p.window_start = a.window_start
