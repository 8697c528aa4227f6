-- d04: CUMULATE: steps without rows, offset, with keys

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute');
CREATE MATERIALIZED VIEW pre_c AS SELECT k, window_start, window_end, sum(v) s, count(*) c FROM CUMULATE(s, ts, INTERVAL '10 s', INTERVAL '30 s') GROUP BY k, window_start, window_end;
CREATE MATERIALIZED VIEW pre_all AS SELECT window_start, window_end, max(v) m FROM TABLE(CUMULATE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '15' SECOND, SIZE => INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;

INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:01'),('b',2,'2024-01-01 00:00:14');
INSERT INTO s VALUES ('a',4,'2024-01-01 00:00:29.999'),('a',8,'2024-01-01 00:00:30');
SELECT advance_watermark('s', 'infinity');

-- query c (ways: snap, pre, post, sub)
SELECT k, window_start, window_end, sum(v) s, count(*) c FROM CUMULATE(s, ts, INTERVAL '10 s', INTERVAL '30 s') GROUP BY k, window_start, window_end;
-- expect 8 rows
--   a|2024-01-01 00:00:00|2024-01-01 00:00:10|1|1
--   a|2024-01-01 00:00:00|2024-01-01 00:00:20|1|1
--   a|2024-01-01 00:00:00|2024-01-01 00:00:30|5|2
--   a|2024-01-01 00:00:30|2024-01-01 00:00:40|8|1
--   a|2024-01-01 00:00:30|2024-01-01 00:00:50|8|1
--   a|2024-01-01 00:00:30|2024-01-01 00:01:00|8|1
--   b|2024-01-01 00:00:00|2024-01-01 00:00:20|2|1
--   b|2024-01-01 00:00:00|2024-01-01 00:00:30|2|1
SELECT * FROM pre_c;  -- expect the same

-- query all (ways: snap, pre, post, sub)
SELECT window_start, window_end, max(v) m FROM TABLE(CUMULATE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '15' SECOND, SIZE => INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
-- expect 4 rows
--   2024-01-01 00:00:00|2024-01-01 00:00:15|2
--   2024-01-01 00:00:00|2024-01-01 00:00:30|4
--   2024-01-01 00:00:00|2024-01-01 00:00:45|8
--   2024-01-01 00:00:00|2024-01-01 00:01:00|8
SELECT * FROM pre_all;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
