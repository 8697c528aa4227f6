-- w05: rows whose window time is NULL

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE TABLE t (k TEXT, v INT, ts TIMESTAMP);
CREATE MATERIALIZED VIEW pre_tab AS SELECT window_start, k, sum(v) s FROM TUMBLE(t, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k;
CREATE MATERIALIZED VIEW pre_tabhop AS SELECT window_start, count(*) c FROM HOP(t, ts, INTERVAL '5 s', INTERVAL '10 s') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_str AS SELECT window_start, k, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k;

INSERT INTO t VALUES ('a',1,NULL),('a',2,'2024-01-01 00:00:03'),('b',NULL,'2024-01-01 00:00:04');
INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:01');
INSERT INTO s VALUES ('a',3,NULL);
INSERT INTO s VALUES ('b',5,'2024-01-01 00:00:11'),(NULL,6,'2024-01-01 00:00:12');
SELECT advance_watermark('s', 'infinity');

-- query tab (ways: snap, pre, post)
SELECT window_start, k, sum(v) s FROM TUMBLE(t, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k;
-- expect 2 rows
--   2024-01-01 00:00:00|a|2
--   2024-01-01 00:00:00|b|∅
SELECT * FROM pre_tab;  -- expect the same

-- query tabhop (ways: snap, pre, post)
SELECT window_start, count(*) c FROM HOP(t, ts, INTERVAL '5 s', INTERVAL '10 s') GROUP BY window_start, window_end;
-- expect 2 rows
--   2023-12-31 23:59:55|2
--   2024-01-01 00:00:00|2
SELECT * FROM pre_tabhop;  -- expect the same

-- query str (ways: snap, pre, post, sub, eowc)
SELECT window_start, k, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k;
-- expect 3 rows
--   2024-01-01 00:00:00|a|1
--   2024-01-01 00:00:10|b|5
--   2024-01-01 00:00:10|∅|6
SELECT * FROM pre_str;  -- expect the same

-- query rej (ways: snap)
SELECT count(*) FROM tidemill.rejected_rows WHERE stream = 's';
-- expect 1 rows
--   1

DROP TABLE IF EXISTS t CASCADE;
DROP STREAM IF EXISTS s CASCADE;
