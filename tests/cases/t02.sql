-- t02: OVER with constant ORDER BY and expression partitions; aggregate over a top-n

CREATE STREAM s (c0 INT, k TEXT);
CREATE MATERIALIZED VIEW pre_d AS SELECT DISTINCT count(1) OVER (PARTITION BY c0>=c0 ORDER BY 1) n FROM s;
CREATE MATERIALIZED VIEW pre_run AS SELECT k, c0, sum(c0) OVER (PARTITION BY k ORDER BY c0) s FROM s;
CREATE MATERIALIZED VIEW pre_lag AS SELECT k, c0, lag(c0) OVER (PARTITION BY k ORDER BY c0) l, lead(c0,1,-1) OVER (PARTITION BY k ORDER BY c0) m FROM s;
CREATE MATERIALIZED VIEW pre_agg AS SELECT count(*) n, sum(c0) s FROM (SELECT c0 FROM s ORDER BY c0 LIMIT 2) t;

INSERT INTO s VALUES (1,'a');
INSERT INTO s VALUES (2,'a'),(2,'b'),(NULL,'b');

-- query d (ways: snap, pre)
SELECT DISTINCT count(1) OVER (PARTITION BY c0>=c0 ORDER BY 1) n FROM s;
-- expect 2 rows
--   1
--   3
SELECT * FROM pre_d;  -- expect the same

-- query nul (ways: snap)
SELECT k, sum(c0) OVER (PARTITION BY NULL) s, percent_rank() OVER (PARTITION BY k ORDER BY NULL) p FROM s;
-- expect 4 rows
--   a|5|0
--   a|5|0
--   b|5|0
--   b|5|0

-- query run (ways: snap, pre)
SELECT k, c0, sum(c0) OVER (PARTITION BY k ORDER BY c0) s FROM s;
-- expect 4 rows
--   a|1|1
--   a|2|3
--   b|2|2
--   b|∅|2
SELECT * FROM pre_run;  -- expect the same

-- query lag (ways: snap, pre)
SELECT k, c0, lag(c0) OVER (PARTITION BY k ORDER BY c0) l, lead(c0,1,-1) OVER (PARTITION BY k ORDER BY c0) m FROM s;
-- expect 4 rows
--   a|1|∅|2
--   a|2|1|-1
--   b|2|∅|∅
--   b|∅|2|-1
SELECT * FROM pre_lag;  -- expect the same

-- query nth (ways: snap)
SELECT c0, nth_value(k, NULL) OVER (ORDER BY c0) n FROM s;
-- expect 4 rows
--   1|∅
--   2|∅
--   2|∅
--   ∅|∅

-- query agg (ways: snap, pre, post, sub)
SELECT count(*) n, sum(c0) s FROM (SELECT c0 FROM s ORDER BY c0 LIMIT 2) t;
-- expect 1 rows
--   2|3
SELECT * FROM pre_agg;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
