-- Tidemill query hop as one batch: each bid once for each of the 60 windows that it is in. Windows are numbered by the
-- second they begin with.
SELECT to_timestamp_micros(start * 1000000) AS window_start, to_timestamp_micros((start + 60) * 1000000) AS window_end,
       auction, count(*) AS bids, sum(price) AS total
FROM (SELECT b.second - o.value AS start, b.auction, b.price
      FROM (SELECT CAST(date_time AS BIGINT) / 1000000 AS second, auction, price FROM bid) AS b
      CROSS JOIN generate_series(0, 59) AS o)
GROUP BY start, auction
