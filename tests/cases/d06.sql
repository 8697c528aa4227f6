-- d06: views over views over windows; view of EMIT ON WINDOW CLOSE read by another; UNION of views

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE VIEW v1 AS SELECT window_start, window_end, k, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k;
CREATE MATERIALIZED VIEW m1 AS SELECT * FROM v1;
CREATE MATERIALIZED VIEW m2 AS SELECT k, count(*) windows, sum(s) total FROM m1 GROUP BY k;
CREATE MATERIALIZED VIEW pre_m2 AS SELECT * FROM m2;
CREATE MATERIALIZED VIEW pre_v AS SELECT k, max(s) m FROM v1 GROUP BY k;
CREATE MATERIALIZED VIEW pre_u AS SELECT k, total FROM m2 UNION ALL SELECT k, s FROM v1;
CREATE MATERIALIZED VIEW pre_j AS SELECT a.k, a.s, b.total FROM m1 a JOIN m2 b ON a.k = b.k;
CREATE MATERIALIZED VIEW pre_e AS SELECT k FROM m2 EXCEPT SELECT k FROM m1 WHERE s > 3;
CREATE MATERIALIZED VIEW pre_i AS SELECT k FROM m2 INTERSECT SELECT k FROM m1 WHERE s > 3;

INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:01');
INSERT INTO s VALUES ('a',2,'2024-01-01 00:00:09'),('b',3,'2024-01-01 00:00:12');
INSERT INTO s VALUES ('a',5,'2024-01-01 00:00:25');
SELECT advance_watermark('s', 'infinity');

-- query m2 (ways: snap, pre, post, sub)
SELECT * FROM m2;
-- expect 2 rows
--   a|2|8
--   b|1|3
SELECT * FROM pre_m2;  -- expect the same

-- query v (ways: snap, pre, post, sub)
SELECT k, max(s) m FROM v1 GROUP BY k;
-- expect 2 rows
--   a|5
--   b|3
SELECT * FROM pre_v;  -- expect the same

-- query u (ways: snap, pre, post, sub)
SELECT k, total FROM m2 UNION ALL SELECT k, s FROM v1;
-- expect 5 rows
--   a|3
--   a|5
--   a|8
--   b|3
--   b|3
SELECT * FROM pre_u;  -- expect the same

-- query j (ways: snap, pre, post, sub)
SELECT a.k, a.s, b.total FROM m1 a JOIN m2 b ON a.k = b.k;
-- expect 3 rows
--   a|3|8
--   a|5|8
--   b|3|3
SELECT * FROM pre_j;  -- expect the same

-- query e (ways: snap, pre)
SELECT k FROM m2 EXCEPT SELECT k FROM m1 WHERE s > 3;
-- expect 1 rows
--   b
SELECT * FROM pre_e;  -- expect the same

-- query i (ways: snap, pre)
SELECT k FROM m2 INTERSECT SELECT k FROM m1 WHERE s > 3;
-- expect 1 rows
--   a
SELECT * FROM pre_i;  -- expect the same

DROP MATERIALIZED VIEW IF EXISTS m2 CASCADE;
DROP MATERIALIZED VIEW IF EXISTS m1 CASCADE;
DROP VIEW IF EXISTS v1 CASCADE;
DROP STREAM IF EXISTS s CASCADE;
