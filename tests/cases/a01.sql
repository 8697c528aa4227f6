-- a01: sliding frames over NULLs

CREATE TABLE t (i INT, v INT, d NUMERIC(10,2));

INSERT INTO t VALUES (1,10,1.5),(2,20,2.5),(3,NULL,NULL),(4,NULL,NULL),(5,50,5.25),(6,NULL,0.25);

-- query avg (ways: snap)
SELECT i, avg(v) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) a, avg(d) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) b FROM t;
-- expect 6 rows
--   1|15|1.5
--   2|20|2
--   3|∅|2.5
--   4|50|∅
--   5|50|5.25
--   6|∅|2.75

-- query unb (ways: snap)
SELECT i, avg(v) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) a FROM t WHERE i < 5;
-- expect 4 rows
--   1|15
--   2|20
--   3|∅
--   4|∅

-- query sd (ways: snap)
SELECT i, sum(v) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) s, count(v) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) c, min(v) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) m FROM t;
-- expect 6 rows
--   1|10|1|10
--   2|30|2|10
--   3|20|1|20
--   4|∅|0|∅
--   5|50|1|50
--   6|50|1|50

-- query rng (ways: snap)
SELECT i, sum(v) OVER (ORDER BY i RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) s FROM t;
-- expect 6 rows
--   1|10
--   2|30
--   3|30
--   4|20
--   5|50
--   6|50

-- query grp (ways: snap)
SELECT i/2 g, sum(v) OVER (ORDER BY i/2 GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) s FROM t;
-- expect 6 rows
--   0|10
--   1|30
--   1|30
--   2|70
--   2|70
--   3|50

-- query filt (ways: snap)
SELECT i, count(*) FILTER (WHERE v > 10) OVER (ORDER BY i) c FROM t;
-- expect 6 rows
--   1|0
--   2|1
--   3|1
--   4|1
--   5|2
--   6|2

-- query std (ways: snap)
SELECT i, stddev_samp(v) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) s FROM t;
-- expect 6 rows
--   1|∅
--   2|7.07106781187
--   3|∅
--   4|∅
--   5|∅
--   6|∅

DROP TABLE IF EXISTS t CASCADE;
