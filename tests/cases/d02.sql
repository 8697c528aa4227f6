-- d02: inner ORDER BY/LIMIT under outer ORDER BY/OFFSET over an aggregate

CREATE TABLE t (id INT, j INT);
CREATE MATERIALIZED VIEW pre_a AS SELECT * FROM (SELECT id, count(j) c FROM t GROUP BY id ORDER BY c DESC LIMIT 2) x ORDER BY id OFFSET 1;
CREATE MATERIALIZED VIEW pre_b AS SELECT * FROM (SELECT id, count(j) c FROM t GROUP BY id ORDER BY id LIMIT 1) x ORDER BY c LIMIT 5;
CREATE MATERIALIZED VIEW pre_c AS SELECT s, count(*) n FROM (SELECT sum(id) s FROM t) x GROUP BY s ORDER BY n DESC LIMIT 50 OFFSET 50;
CREATE MATERIALIZED VIEW pre_e AS (SELECT id FROM t ORDER BY id DESC LIMIT 1) UNION ALL (SELECT j FROM t ORDER BY j NULLS FIRST LIMIT 1);
CREATE MATERIALIZED VIEW pre_f AS SELECT id FROM t LIMIT 0;
CREATE MATERIALIZED VIEW pre_g AS SELECT max(id) FROM (SELECT id FROM t ORDER BY id LIMIT 2) x;

INSERT INTO t VALUES (0,NULL),(1,1),(1,2);

-- query a (ways: snap, pre)
SELECT * FROM (SELECT id, count(j) c FROM t GROUP BY id ORDER BY c DESC LIMIT 2) x ORDER BY id OFFSET 1;
-- expect 1 rows
--   1|2
SELECT * FROM pre_a;  -- expect the same

-- query b (ways: snap, pre)
SELECT * FROM (SELECT id, count(j) c FROM t GROUP BY id ORDER BY id LIMIT 1) x ORDER BY c LIMIT 5;
-- expect 1 rows
--   0|0
SELECT * FROM pre_b;  -- expect the same

-- query c (ways: snap, pre)
SELECT s, count(*) n FROM (SELECT sum(id) s FROM t) x GROUP BY s ORDER BY n DESC LIMIT 50 OFFSET 50;
-- expect 0 rows
SELECT * FROM pre_c;  -- expect the same

-- query d (ways: snap)
SELECT id FROM t ORDER BY id LIMIT ALL OFFSET 2;
-- expect 1 rows
--   1

-- query e (ways: snap, pre)
(SELECT id FROM t ORDER BY id DESC LIMIT 1) UNION ALL (SELECT j FROM t ORDER BY j NULLS FIRST LIMIT 1);
-- expect 2 rows
--   1
--   ∅
SELECT * FROM pre_e;  -- expect the same

-- query f (ways: snap, pre)
SELECT id FROM t LIMIT 0;
-- expect 0 rows
SELECT * FROM pre_f;  -- expect the same

-- query g (ways: snap, pre)
SELECT max(id) FROM (SELECT id FROM t ORDER BY id LIMIT 2) x;
-- expect 1 rows
--   1
SELECT * FROM pre_g;  -- expect the same

DROP TABLE IF EXISTS t CASCADE;
