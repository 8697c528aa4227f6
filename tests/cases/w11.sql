-- w11: session windows: merge by a bridging row, several batches, no key

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute');
CREATE MATERIALIZED VIEW pre_k AS SELECT k, window_start, window_end, count(*) c, sum(v) s FROM SESSION(s PARTITION BY k, ts, INTERVAL '5 seconds') GROUP BY k, window_start, window_end;
CREATE MATERIALIZED VIEW pre_f AS SELECT k, SESSION_START(ts, INTERVAL '5' SECOND) a, SESSION_END(ts, INTERVAL '5' SECOND) b, max(v) m FROM s GROUP BY k, SESSION(ts, INTERVAL '5' SECOND);

INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:00');
INSERT INTO s VALUES ('a',2,'2024-01-01 00:00:08');
INSERT INTO s VALUES ('b',4,'2024-01-01 00:00:05');
INSERT INTO s VALUES ('a',8,'2024-01-01 00:00:04');
INSERT INTO s VALUES ('a',16,'2024-01-01 00:00:13');
INSERT INTO s VALUES (NULL,32,'2024-01-01 00:00:30');
INSERT INTO s VALUES ('a',64,'2024-01-01 00:00:17.999');
SELECT advance_watermark('s', 'infinity');

-- query k (ways: snap, pre, post, sub, eowc)
SELECT k, window_start, window_end, count(*) c, sum(v) s FROM SESSION(s PARTITION BY k, ts, INTERVAL '5 seconds') GROUP BY k, window_start, window_end;
-- expect 4 rows
--   a|2024-01-01 00:00:00|2024-01-01 00:00:13|3|11
--   a|2024-01-01 00:00:13|2024-01-01 00:00:22.999|2|80
--   b|2024-01-01 00:00:05|2024-01-01 00:00:10|1|4
--   ∅|2024-01-01 00:00:30|2024-01-01 00:00:35|1|32
SELECT * FROM pre_k;  -- expect the same

-- query f (ways: snap, pre, post, sub, eowc)
SELECT k, SESSION_START(ts, INTERVAL '5' SECOND) a, SESSION_END(ts, INTERVAL '5' SECOND) b, max(v) m FROM s GROUP BY k, SESSION(ts, INTERVAL '5' SECOND);
-- expect 4 rows
--   a|2024-01-01 00:00:00|2024-01-01 00:00:13|8
--   a|2024-01-01 00:00:13|2024-01-01 00:00:22.999|64
--   b|2024-01-01 00:00:05|2024-01-01 00:00:10|4
--   ∅|2024-01-01 00:00:30|2024-01-01 00:00:35|32
SELECT * FROM pre_f;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
