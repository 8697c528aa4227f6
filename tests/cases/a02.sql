-- a02: duplicate grouping sets; ROLLUP/CUBE with NULL keys; GROUPING()

CREATE STREAM s (dept INT, job TEXT, sal INT);
CREATE MATERIALIZED VIEW pre_dup AS SELECT dept, job, sum(sal) s FROM s GROUP BY GROUPING SETS ((dept, job),(dept),(dept, job));
CREATE MATERIALIZED VIEW pre_ru AS SELECT dept, job, sum(sal) s, grouping(dept) g, grouping(dept, job) gg FROM s GROUP BY ROLLUP (dept, job);
CREATE MATERIALIZED VIEW pre_cu AS SELECT dept, job, count(*) c FROM s GROUP BY CUBE (dept, job);
CREATE MATERIALIZED VIEW pre_mix AS SELECT dept, job, count(*) c FROM s GROUP BY dept, ROLLUP (job);
CREATE MATERIALIZED VIEW pre_empty AS SELECT count(*) c, sum(sal) s FROM s WHERE sal > 99999 GROUP BY GROUPING SETS ((), (dept));

INSERT INTO s VALUES (10,'C',1300),(20,'M',3000);
INSERT INTO s VALUES (NULL,'M',5),(10,NULL,7);

-- query dup (ways: snap, pre, post, sub)
SELECT dept, job, sum(sal) s FROM s GROUP BY GROUPING SETS ((dept, job),(dept),(dept, job));
-- expect 11 rows
--   10|C|1300
--   10|C|1300
--   10|∅|1307
--   10|∅|7
--   10|∅|7
--   20|M|3000
--   20|M|3000
--   20|∅|3000
--   ∅|M|5
--   ∅|M|5
--   ∅|∅|5
SELECT * FROM pre_dup;  -- expect the same

-- query e (ways: snap)
SELECT job FROM (SELECT 'id' AS job UNION ALL SELECT 'id') x GROUP BY GROUPING SETS ((job), ());
-- expect 2 rows
--   id
--   ∅

-- query ru (ways: snap, pre, post, sub)
SELECT dept, job, sum(sal) s, grouping(dept) g, grouping(dept, job) gg FROM s GROUP BY ROLLUP (dept, job);
-- expect 8 rows
--   10|C|1300|0|0
--   10|∅|1307|0|1
--   10|∅|7|0|0
--   20|M|3000|0|0
--   20|∅|3000|0|1
--   ∅|M|5|0|0
--   ∅|∅|4312|1|3
--   ∅|∅|5|0|1
SELECT * FROM pre_ru;  -- expect the same

-- query cu (ways: snap, pre, post, sub)
SELECT dept, job, count(*) c FROM s GROUP BY CUBE (dept, job);
-- expect 11 rows
--   10|C|1
--   10|∅|1
--   10|∅|2
--   20|M|1
--   20|∅|1
--   ∅|C|1
--   ∅|M|1
--   ∅|M|2
--   ∅|∅|1
--   ∅|∅|1
--   ∅|∅|4
SELECT * FROM pre_cu;  -- expect the same

-- query mix (ways: snap, pre, post, sub)
SELECT dept, job, count(*) c FROM s GROUP BY dept, ROLLUP (job);
-- expect 7 rows
--   10|C|1
--   10|∅|1
--   10|∅|2
--   20|M|1
--   20|∅|1
--   ∅|M|1
--   ∅|∅|1
SELECT * FROM pre_mix;  -- expect the same

-- query empty (ways: snap, pre, post, sub)
SELECT count(*) c, sum(sal) s FROM s WHERE sal > 99999 GROUP BY GROUPING SETS ((), (dept));
-- expect 1 rows
--   0|∅
SELECT * FROM pre_empty;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
