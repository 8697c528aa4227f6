-- d05: window top-n and window deduplication: first/last row per key and window, ties

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute');
CREATE MATERIALIZED VIEW pre_top AS SELECT k, v, window_start FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, k) rn FROM TUMBLE(s, ts, INTERVAL '10 s')) x WHERE rn <= 2;
CREATE MATERIALIZED VIEW pre_ded AS SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts DESC) rn FROM TUMBLE(s, ts, INTERVAL '10 s')) x WHERE rn = 1;
CREATE MATERIALIZED VIEW pre_agg AS SELECT window_start, k, s FROM (SELECT *, RANK() OVER (PARTITION BY window_start ORDER BY s DESC) r FROM (SELECT window_start, window_end, k, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k) y) x WHERE r = 1;
CREATE MATERIALIZED VIEW pre_lag AS SELECT window_start, c, lag(c) OVER (ORDER BY window_start) p FROM (SELECT window_start, window_end, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end) x;
CREATE MATERIALIZED VIEW pre_glob AS SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC, v) rn FROM s) x WHERE rn = 1;

INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:01'),('a',2,'2024-01-01 00:00:01.5'),('b',2,'2024-01-01 00:00:04');
INSERT INTO s VALUES ('a',3,'2024-01-01 00:00:00.5'),('b',7,'2024-01-01 00:00:12'),('c',7,'2024-01-01 00:00:13');
SELECT advance_watermark('s', 'infinity');

-- query top (ways: snap, pre, post, sub, eowc)
SELECT k, v, window_start FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, k) rn FROM TUMBLE(s, ts, INTERVAL '10 s')) x WHERE rn <= 2;
-- expect 4 rows
--   a|2|2024-01-01 00:00:00
--   a|3|2024-01-01 00:00:00
--   b|7|2024-01-01 00:00:10
--   c|7|2024-01-01 00:00:10
SELECT * FROM pre_top;  -- expect the same

-- query ded (ways: snap, pre, post, sub, eowc)
SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY ts DESC) rn FROM TUMBLE(s, ts, INTERVAL '10 s')) x WHERE rn = 1;
-- expect 4 rows
--   a|2
--   b|2
--   b|7
--   c|7
SELECT * FROM pre_ded;  -- expect the same

-- query agg (ways: snap, pre, post, sub, eowc)
SELECT window_start, k, s FROM (SELECT *, RANK() OVER (PARTITION BY window_start ORDER BY s DESC) r FROM (SELECT window_start, window_end, k, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k) y) x WHERE r = 1;
-- expect 3 rows
--   2024-01-01 00:00:00|a|6
--   2024-01-01 00:00:10|b|7
--   2024-01-01 00:00:10|c|7
SELECT * FROM pre_agg;  -- expect the same

-- query lag (ways: snap, pre)
SELECT window_start, c, lag(c) OVER (ORDER BY window_start) p FROM (SELECT window_start, window_end, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end) x;
-- expect 2 rows
--   2024-01-01 00:00:00|4|∅
--   2024-01-01 00:00:10|2|4
SELECT * FROM pre_lag;  -- expect the same

-- query glob (ways: snap, pre, post, sub)
SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC, v) rn FROM s) x WHERE rn = 1;
-- expect 3 rows
--   a|2
--   b|7
--   c|7
SELECT * FROM pre_glob;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
