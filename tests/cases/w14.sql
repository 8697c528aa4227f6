-- w14: windows of local days; grouping by date_trunc(month) in a zone over DST

CREATE STREAM z (v INT, ts TIMESTAMPTZ, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_day AS SELECT date_trunc('day', ts AT TIME ZONE 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_day3 AS SELECT date_trunc('day', ts, 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_hour AS SELECT date_trunc('hour', ts, 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_month AS SELECT date_trunc('month', ts AT TIME ZONE 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_back AS SELECT date_trunc('day', ts AT TIME ZONE 'Europe/Prague') AT TIME ZONE 'Europe/Prague' d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_bin AS SELECT date_bin('1 day', ts AT TIME ZONE 'Europe/Prague', TIMESTAMP '2024-01-01') d, sum(v) s FROM z GROUP BY 1;
CREATE MATERIALIZED VIEW pre_locwin AS SELECT window_start, sum(v) s FROM TUMBLE((SELECT ts AT TIME ZONE 'Europe/Prague' AS lt, v FROM z), lt, INTERVAL '1 day') GROUP BY window_start;

INSERT INTO z VALUES (1,'2024-03-30 22:59:59+00'),(2,'2024-03-30 23:00:00+00'),(3,'2024-03-31 21:59:59+00'),(4,'2024-03-31 22:00:00+00'),(5,'2024-10-27 00:30:00+00'),(6,'2024-10-27 01:30:00+00'),(7,'2024-10-27 23:00:00+00');

-- query day (ways: snap, pre, post, sub)
SELECT date_trunc('day', ts AT TIME ZONE 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
-- expect 5 rows
--   2024-03-30 00:00:00|1
--   2024-03-31 00:00:00|5
--   2024-04-01 00:00:00|4
--   2024-10-27 00:00:00|11
--   2024-10-28 00:00:00|7
SELECT * FROM pre_day;  -- expect the same

-- query day3 (ways: snap, pre, post, sub)
SELECT date_trunc('day', ts, 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
-- expect 5 rows
--   2024-03-29 23:00:00+00|1
--   2024-03-30 23:00:00+00|5
--   2024-03-31 22:00:00+00|4
--   2024-10-26 22:00:00+00|11
--   2024-10-27 23:00:00+00|7
SELECT * FROM pre_day3;  -- expect the same

-- query hour (ways: snap, pre, post, sub)
SELECT date_trunc('hour', ts, 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
-- expect 7 rows
--   2024-03-30 22:00:00+00|1
--   2024-03-30 23:00:00+00|2
--   2024-03-31 21:00:00+00|3
--   2024-03-31 22:00:00+00|4
--   2024-10-27 00:00:00+00|5
--   2024-10-27 01:00:00+00|6
--   2024-10-27 23:00:00+00|7
SELECT * FROM pre_hour;  -- expect the same

-- query month (ways: snap, pre, post, sub)
SELECT date_trunc('month', ts AT TIME ZONE 'Europe/Prague') d, sum(v) s FROM z GROUP BY 1;
-- expect 3 rows
--   2024-03-01 00:00:00|6
--   2024-04-01 00:00:00|4
--   2024-10-01 00:00:00|18
SELECT * FROM pre_month;  -- expect the same

-- query back (ways: snap, pre, post, sub)
SELECT date_trunc('day', ts AT TIME ZONE 'Europe/Prague') AT TIME ZONE 'Europe/Prague' d, sum(v) s FROM z GROUP BY 1;
-- expect 5 rows
--   2024-03-29 23:00:00+00|1
--   2024-03-30 23:00:00+00|5
--   2024-03-31 22:00:00+00|4
--   2024-10-26 22:00:00+00|11
--   2024-10-27 23:00:00+00|7
SELECT * FROM pre_back;  -- expect the same

-- query bin (ways: snap, pre, post, sub)
SELECT date_bin('1 day', ts AT TIME ZONE 'Europe/Prague', TIMESTAMP '2024-01-01') d, sum(v) s FROM z GROUP BY 1;
-- expect 5 rows
--   2024-03-30 00:00:00|1
--   2024-03-31 00:00:00|5
--   2024-04-01 00:00:00|4
--   2024-10-27 00:00:00|11
--   2024-10-28 00:00:00|7
SELECT * FROM pre_bin;  -- expect the same

-- query locwin (ways: snap, pre, post)
SELECT window_start, sum(v) s FROM TUMBLE((SELECT ts AT TIME ZONE 'Europe/Prague' AS lt, v FROM z), lt, INTERVAL '1 day') GROUP BY window_start;
-- expect 5 rows
--   2024-03-30 00:00:00|1
--   2024-03-31 00:00:00|5
--   2024-04-01 00:00:00|4
--   2024-10-27 00:00:00|11
--   2024-10-28 00:00:00|7
SELECT * FROM pre_locwin;  -- expect the same

DROP STREAM IF EXISTS z CASCADE;
