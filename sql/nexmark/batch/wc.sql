-- Tidemill query wc as one batch: each word once for each of the two windows that it is in. Windows are numbered by the
-- five seconds they begin with.
SELECT to_timestamp_micros(start * 5000000) AS window_start, to_timestamp_micros((start + 2) * 5000000) AS window_end,
       word, count(*) AS times
FROM (SELECT w.five - o.value AS start, w.word
      FROM (SELECT CAST(date_time AS BIGINT) / 5000000 AS five, unnest(string_to_array(url, '/')) AS word FROM bid) AS w
      CROSS JOIN generate_series(0, 1) AS o)
GROUP BY start, word
