-- Nexmark query 5 as one batch: each bid once for each of the five windows that it is in. Windows are numbered by the
-- second they begin with.
WITH counts AS (
  SELECT start, auction, count(*) AS bids
  FROM (SELECT b.second - b.second % 2 - 2 * o.value AS start, b.auction
        FROM (SELECT CAST(date_time AS BIGINT) / 1000000 AS second, auction FROM bid) AS b
        CROSS JOIN generate_series(0, 4) AS o)
  GROUP BY start, auction
)
SELECT to_timestamp_micros(c.start * 1000000) AS window_start, to_timestamp_micros((c.start + 10) * 1000000) AS window_end,
       c.auction, c.bids
FROM counts AS c
JOIN (SELECT start, max(bids) AS most FROM counts GROUP BY start) AS m ON c.start = m.start AND c.bids = m.most
