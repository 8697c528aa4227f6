-- w04: long windows are aligned to 1970-01-01, not to the data

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
CREATE MATERIALIZED VIEW pre_d30 AS SELECT k, window_start, window_end, sum(v) s FROM TUMBLE(s, ts, INTERVAL '30 days') GROUP BY k, window_start, window_end;
CREATE MATERIALIZED VIEW pre_w1 AS SELECT k, TUMBLE_START(ts, INTERVAL '1' WEEK) a, TUMBLE_END(ts, INTERVAL '1' WEEK) b, sum(v) s FROM s GROUP BY k, TUMBLE(ts, INTERVAL '1' WEEK);

INSERT INTO s VALUES ('u1',100,'2022-05-09 12:10:00'),('u1',200,'2022-05-09 12:50:00'),('u1',500,'2022-08-10 11:40:00');

-- query d30 (ways: snap, pre, post, sub)
SELECT k, window_start, window_end, sum(v) s FROM TUMBLE(s, ts, INTERVAL '30 days') GROUP BY k, window_start, window_end;
-- expect 2 rows
--   u1|2022-04-28 00:00:00|2022-05-28 00:00:00|300
--   u1|2022-07-27 00:00:00|2022-08-26 00:00:00|500
SELECT * FROM pre_d30;  -- expect the same

-- query w1 (ways: snap, pre, post, sub)
SELECT k, TUMBLE_START(ts, INTERVAL '1' WEEK) a, TUMBLE_END(ts, INTERVAL '1' WEEK) b, sum(v) s FROM s GROUP BY k, TUMBLE(ts, INTERVAL '1' WEEK);
-- expect 2 rows
--   u1|2022-05-05 00:00:00|2022-05-12 00:00:00|300
--   u1|2022-08-04 00:00:00|2022-08-11 00:00:00|500
SELECT * FROM pre_w1;  -- expect the same

-- query mon
SELECT k, sum(v) s, TUMBLE_START(ts, INTERVAL '1' MONTH) FROM s GROUP BY k, TUMBLE(ts, INTERVAL '1' MONTH);
-- expect error 22023

-- query yr
SELECT k, sum(v) s FROM s GROUP BY k, TUMBLE(ts, INTERVAL '1' YEAR);
-- expect error 22023

DROP STREAM IF EXISTS s CASCADE;
