-- w13: TUMBLE over TIMESTAMPTZ, DATE and sub-millisecond times

CREATE STREAM z (v INT, ts TIMESTAMPTZ, WATERMARK FOR ts);
CREATE TABLE d (v INT, d DATE);
CREATE STREAM p (v INT, ts TIMESTAMP(6), WATERMARK FOR ts);
CREATE STREAM n (v INT, ts TIMESTAMP(9), WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_z AS SELECT window_start, sum(v) s FROM TUMBLE(z, ts, INTERVAL '2 MINUTES') GROUP BY window_start;
CREATE MATERIALIZED VIEW pre_p AS SELECT window_start, sum(v) s FROM TUMBLE(p, ts, INTERVAL '1 second') GROUP BY window_start;
CREATE MATERIALIZED VIEW pre_pus AS SELECT window_start, sum(v) s FROM TUMBLE(p, ts, INTERVAL '3 microseconds') GROUP BY window_start;
CREATE MATERIALIZED VIEW pre_n AS SELECT window_start, sum(v) s FROM TUMBLE(n, ts, INTERVAL '1 second') GROUP BY window_start;

INSERT INTO z VALUES (1,'2022-07-12 14:01:59.999+00'),(2,'2022-07-12 16:02:00+02'),(3,'2022-07-12 09:03:00-05:00');
INSERT INTO d VALUES (1,'2024-01-01'),(2,'2024-01-02');
INSERT INTO p VALUES (1,'2024-01-01 00:00:00.999999'),(2,'2024-01-01 00:00:01'),(3,'2024-01-01 00:00:01.000001');
INSERT INTO n VALUES (1,'2024-01-01 00:00:00.999999'),(2,'2024-01-01 00:00:01');

-- query z (ways: snap, pre, post, sub)
SELECT window_start, sum(v) s FROM TUMBLE(z, ts, INTERVAL '2 MINUTES') GROUP BY window_start;
-- expect 2 rows
--   2022-07-12 14:00:00+00|1
--   2022-07-12 14:02:00+00|5
SELECT * FROM pre_z;  -- expect the same

-- query d (ways: snap)
SELECT window_start, sum(v) s FROM TUMBLE(d, d, INTERVAL '2 days') GROUP BY window_start;
-- expect 2 rows
--   2023-12-31 00:00:00|1
--   2024-01-02 00:00:00|2

-- query p (ways: snap, pre, post, sub)
SELECT window_start, sum(v) s FROM TUMBLE(p, ts, INTERVAL '1 second') GROUP BY window_start;
-- expect 2 rows
--   2024-01-01 00:00:00|1
--   2024-01-01 00:00:01|5
SELECT * FROM pre_p;  -- expect the same

-- query pus (ways: snap, pre)
SELECT window_start, sum(v) s FROM TUMBLE(p, ts, INTERVAL '3 microseconds') GROUP BY window_start;
-- expect 1 rows
--   2024-01-01 00:00:00.999999|6
SELECT * FROM pre_pus;  -- expect the same

-- query n (ways: snap, pre)
SELECT window_start, sum(v) s FROM TUMBLE(n, ts, INTERVAL '1 second') GROUP BY window_start;
-- expect 2 rows
--   2024-01-01 00:00:00|1
--   2024-01-01 00:00:01|2
SELECT * FROM pre_n;  -- expect the same

DROP STREAM IF EXISTS n CASCADE;
DROP STREAM IF EXISTS p CASCADE;
DROP TABLE IF EXISTS d CASCADE;
DROP STREAM IF EXISTS z CASCADE;
