-- j04: stream LEFT JOIN table with NULL stream key, NULL dimension key, two dimensions

CREATE STREAM t (x INT, y INT);
CREATE TABLE d (x INT, z INT);
CREATE MATERIALIZED VIEW pre_two AS SELECT t.x a, y, d1.x b, d1.z c, d2.x e, d2.z f FROM t t LEFT JOIN d d1 ON t.x = d1.x LEFT JOIN d d2 ON t.x = d2.x;
CREATE MATERIALIZED VIEW pre_one AS SELECT y, z FROM t t LEFT JOIN d d ON t.x = d.x;
CREATE MATERIALIZED VIEW pre_agg AS SELECT coalesce(d.z, -1) z, count(*) c, sum(y) s FROM t t LEFT JOIN d d ON t.x = d.x GROUP BY coalesce(d.z, -1);
CREATE MATERIALIZED VIEW pre_text AS SELECT y, z FROM t t JOIN d d ON t.x::text = d.x::text;

INSERT INTO d VALUES (1,9),(NULL,2),(3,4);
INSERT INTO t VALUES (1,5),(2,7);
INSERT INTO t VALUES (NULL,8);

-- query two (ways: snap, pre, post, sub, eowc)
SELECT t.x a, y, d1.x b, d1.z c, d2.x e, d2.z f FROM t t LEFT JOIN d d1 ON t.x = d1.x LEFT JOIN d d2 ON t.x = d2.x;
-- expect 3 rows
--   1|5|1|9|1|9
--   2|7|∅|∅|∅|∅
--   ∅|8|∅|∅|∅|∅
SELECT * FROM pre_two;  -- expect the same

-- query one (ways: snap, pre, post, sub, eowc)
SELECT y, z FROM t t LEFT JOIN d d ON t.x = d.x;
-- expect 3 rows
--   5|9
--   7|∅
--   8|∅
SELECT * FROM pre_one;  -- expect the same

-- query agg (ways: snap, pre, post, sub)
SELECT coalesce(d.z, -1) z, count(*) c, sum(y) s FROM t t LEFT JOIN d d ON t.x = d.x GROUP BY coalesce(d.z, -1);
-- expect 2 rows
--   -1|2|15
--   9|1|5
SELECT * FROM pre_agg;  -- expect the same

-- query text (ways: snap, pre, post, sub, eowc)
SELECT y, z FROM t t JOIN d d ON t.x::text = d.x::text;
-- expect 1 rows
--   5|9
SELECT * FROM pre_text;  -- expect the same

DROP TABLE IF EXISTS d CASCADE;
DROP STREAM IF EXISTS t CASCADE;
