-- w02: window offsets, negative and longer than the size

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
CREATE MATERIALIZED VIEW pre_d6 AS SELECT window_start, window_end, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 day', INTERVAL '6 hours') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_dneg AS SELECT window_start, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 day', INTERVAL '-8 hours') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_big AS SELECT window_start, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 hour', INTERVAL '90 minutes') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_hopoff AS SELECT window_start, sum(v) s FROM HOP(s, ts, INTERVAL '1 hour', INTERVAL '2 hours', INTERVAL '-15 minutes') GROUP BY window_start, window_end;

INSERT INTO s VALUES ('a',1,'2024-01-01 01:30:02'),('a',2,'2024-01-01 06:00:00'),('a',3,'2024-01-01 05:59:59.999'),('b',4,'2024-01-02 07:00:00');

-- query d6 (ways: snap, pre, post, sub)
SELECT window_start, window_end, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 day', INTERVAL '6 hours') GROUP BY window_start, window_end;
-- expect 3 rows
--   2023-12-31 06:00:00|2024-01-01 06:00:00|4
--   2024-01-01 06:00:00|2024-01-02 06:00:00|2
--   2024-01-02 06:00:00|2024-01-03 06:00:00|4
SELECT * FROM pre_d6;  -- expect the same

-- query dneg (ways: snap, pre, post, sub)
SELECT window_start, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 day', INTERVAL '-8 hours') GROUP BY window_start, window_end;
-- expect 2 rows
--   2023-12-31 16:00:00|6
--   2024-01-01 16:00:00|4
SELECT * FROM pre_dneg;  -- expect the same

-- query big (ways: snap, pre, post, sub)
SELECT window_start, sum(v) s FROM TUMBLE(s, ts, INTERVAL '1 hour', INTERVAL '90 minutes') GROUP BY window_start, window_end;
-- expect 3 rows
--   2024-01-01 01:30:00|1
--   2024-01-01 05:30:00|5
--   2024-01-02 06:30:00|4
SELECT * FROM pre_big;  -- expect the same

-- query hopoff (ways: snap, pre, post, sub)
SELECT window_start, sum(v) s FROM HOP(s, ts, INTERVAL '1 hour', INTERVAL '2 hours', INTERVAL '-15 minutes') GROUP BY window_start, window_end;
-- expect 6 rows
--   2023-12-31 23:45:00|1
--   2024-01-01 00:45:00|1
--   2024-01-01 04:45:00|5
--   2024-01-01 05:45:00|5
--   2024-01-02 05:45:00|4
--   2024-01-02 06:45:00|4
SELECT * FROM pre_hopoff;  -- expect the same

-- query stringoff (ways: snap)
SELECT window_start FROM TUMBLE(s, ts, INTERVAL '1 day', '+6 HOURS');
-- expect 4 rows
--   2023-12-31 06:00:00
--   2023-12-31 06:00:00
--   2024-01-01 06:00:00
--   2024-01-02 06:00:00

DROP STREAM IF EXISTS s CASCADE;
