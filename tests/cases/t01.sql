-- t01: row_number filters other than <= N; ties; rank in the output

CREATE STREAM s (x INT, y INT);
CREATE MATERIALIZED VIEW pre_bt AS SELECT x, y, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS rn FROM s) t WHERE rn BETWEEN 2 AND 3;
CREATE MATERIALIZED VIEW pre_gt AS SELECT x, y, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS rn FROM s) t WHERE rn > 1 AND rn < 3;
CREATE MATERIALIZED VIEW pre_z AS SELECT x, y FROM (SELECT x, y, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) - 1 AS rn FROM s) t WHERE rn = 0;
CREATE MATERIALIZED VIEW pre_dr AS SELECT x, y, r FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY x ORDER BY y DESC) AS r FROM s) t WHERE r <= 2;
CREATE MATERIALIZED VIEW pre_desc AS SELECT x, y FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y DESC) AS r FROM s) t WHERE r = 1;
CREATE MATERIALIZED VIEW pre_nl AS SELECT x, y FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y DESC NULLS LAST) AS r FROM s) t WHERE r = 1;
CREATE MATERIALIZED VIEW pre_glob AS SELECT x, y, r FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY y, x) AS r FROM s) t WHERE r <= 3;
CREATE MATERIALIZED VIEW pre_cnt AS SELECT count(*) c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS r FROM s) t WHERE r <= 1;
CREATE MATERIALIZED VIEW pre_don AS SELECT DISTINCT ON (x) x, y FROM s ORDER BY x, y;
CREATE MATERIALIZED VIEW pre_lim AS SELECT x, y FROM s ORDER BY y NULLS LAST, x LIMIT 3;
CREATE MATERIALIZED VIEW pre_off AS SELECT x, y FROM s ORDER BY y, x LIMIT 2 OFFSET 1;
CREATE MATERIALIZED VIEW pre_fetch AS SELECT x, y FROM s ORDER BY y DESC NULLS LAST FETCH FIRST 1 ROW WITH TIES;

INSERT INTO s VALUES (1,1),(1,2),(1,3);
INSERT INTO s VALUES (2,9);
INSERT INTO s VALUES (1,0),(2,5),(2,5);
INSERT INTO s VALUES (NULL,7),(NULL,NULL),(3,NULL);

-- query bt (ways: snap, pre, post, sub)
SELECT x, y, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS rn FROM s) t WHERE rn BETWEEN 2 AND 3;
-- expect 5 rows
--   1|1|2
--   1|2|3
--   2|5|2
--   2|9|3
--   ∅|∅|2
SELECT * FROM pre_bt;  -- expect the same

-- query gt (ways: snap, pre, post, sub)
SELECT x, y, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS rn FROM s) t WHERE rn > 1 AND rn < 3;
-- expect 3 rows
--   1|1|2
--   2|5|2
--   ∅|∅|2
SELECT * FROM pre_gt;  -- expect the same

-- query z (ways: snap, pre, post, sub)
SELECT x, y FROM (SELECT x, y, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) - 1 AS rn FROM s) t WHERE rn = 0;
-- expect 4 rows
--   1|0
--   2|5
--   3|∅
--   ∅|7
SELECT * FROM pre_z;  -- expect the same

-- query dr (ways: snap, pre, post, sub)
SELECT x, y, r FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY x ORDER BY y DESC) AS r FROM s) t WHERE r <= 2;
-- expect 8 rows
--   1|2|2
--   1|3|1
--   2|5|2
--   2|5|2
--   2|9|1
--   3|∅|1
--   ∅|7|2
--   ∅|∅|1
SELECT * FROM pre_dr;  -- expect the same

-- query desc (ways: snap, pre, post, sub)
SELECT x, y FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y DESC) AS r FROM s) t WHERE r = 1;
-- expect 4 rows
--   1|3
--   2|9
--   3|∅
--   ∅|∅
SELECT * FROM pre_desc;  -- expect the same

-- query nl (ways: snap, pre, post, sub)
SELECT x, y FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y DESC NULLS LAST) AS r FROM s) t WHERE r = 1;
-- expect 4 rows
--   1|3
--   2|9
--   3|∅
--   ∅|7
SELECT * FROM pre_nl;  -- expect the same

-- query glob (ways: snap, pre, post, sub)
SELECT x, y, r FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY y, x) AS r FROM s) t WHERE r <= 3;
-- expect 3 rows
--   1|0|1
--   1|1|2
--   1|2|3
SELECT * FROM pre_glob;  -- expect the same

-- query cnt (ways: snap, pre, post, sub)
SELECT count(*) c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) AS r FROM s) t WHERE r <= 1;
-- expect 1 rows
--   4
SELECT * FROM pre_cnt;  -- expect the same

-- query don (ways: snap, pre, post, sub)
SELECT DISTINCT ON (x) x, y FROM s ORDER BY x, y;
-- expect 4 rows
--   1|0
--   2|5
--   3|∅
--   ∅|7
SELECT * FROM pre_don;  -- expect the same

-- query lim (ways: snap, pre, post, sub)
SELECT x, y FROM s ORDER BY y NULLS LAST, x LIMIT 3;
-- expect 3 rows
--   1|0
--   1|1
--   1|2
SELECT * FROM pre_lim;  -- expect the same

-- query off (ways: snap, pre, post, sub)
SELECT x, y FROM s ORDER BY y, x LIMIT 2 OFFSET 1;
-- expect 2 rows
--   1|1
--   1|2
SELECT * FROM pre_off;  -- expect the same

-- query fetch (ways: snap, pre)
SELECT x, y FROM s ORDER BY y DESC NULLS LAST FETCH FIRST 1 ROW WITH TIES;
-- expect 1 rows
--   2|9
SELECT * FROM pre_fetch;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
