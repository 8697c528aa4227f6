-- n02: correlated subqueries: filter below outer join, ROLLUP, outer reference in ON

CREATE TABLE o (k INT);
CREATE TABLE a (id INT);
CREATE TABLE b (id INT, y INT);
CREATE MATERIALIZED VIEW pre_ex AS SELECT o.k, EXISTS (SELECT 1 FROM a a LEFT JOIN (SELECT * FROM b b0 WHERE b0.y = o.k) b ON a.id = b.id WHERE b.y IS NULL) e FROM o o;
CREATE MATERIALIZED VIEW pre_inn AS SELECT o.k FROM o o WHERE 2 IN (SELECT a.id FROM a a LEFT JOIN (SELECT * FROM b b0 WHERE b0.y = o.k) b ON a.id = b.id WHERE b.y IS NULL);
CREATE MATERIALIZED VIEW pre_ro AS SELECT o.k, EXISTS (SELECT 1 FROM a i WHERE i.id = o.k GROUP BY ROLLUP(i.id)) e FROM o o;
CREATE MATERIALIZED VIEW pre_sc AS SELECT o.k, (SELECT count(*) FROM b b WHERE b.y = o.k) n FROM o o;
CREATE MATERIALIZED VIEW pre_scg AS SELECT o.k, (SELECT max(y) FROM b b WHERE b.y <= o.k) n FROM o o;
CREATE MATERIALIZED VIEW pre_on AS SELECT k FROM o o WHERE k = (SELECT b.id FROM a a LEFT JOIN b b ON (a.id = o.k) ORDER BY 1 LIMIT 1);
CREATE MATERIALIZED VIEW pre_lat AS SELECT o.k, z.y FROM o o LEFT JOIN LATERAL (SELECT y FROM b b WHERE b.y >= o.k ORDER BY y LIMIT 1) z ON true;

INSERT INTO o VALUES (1),(5),(NULL);
INSERT INTO a VALUES (1),(2);
INSERT INTO b VALUES (1,1),(2,2);

-- query ex (ways: snap, pre)
SELECT o.k, EXISTS (SELECT 1 FROM a a LEFT JOIN (SELECT * FROM b b0 WHERE b0.y = o.k) b ON a.id = b.id WHERE b.y IS NULL) e FROM o o;
-- expect 3 rows
--   1|t
--   5|t
--   ∅|t
SELECT * FROM pre_ex;  -- expect the same

-- query inn (ways: snap, pre)
SELECT o.k FROM o o WHERE 2 IN (SELECT a.id FROM a a LEFT JOIN (SELECT * FROM b b0 WHERE b0.y = o.k) b ON a.id = b.id WHERE b.y IS NULL);
-- expect 3 rows
--   1
--   5
--   ∅
SELECT * FROM pre_inn;  -- expect the same

-- query ro (ways: snap, pre)
SELECT o.k, EXISTS (SELECT 1 FROM a i WHERE i.id = o.k GROUP BY ROLLUP(i.id)) e FROM o o;
-- expect 3 rows
--   1|t
--   5|t
--   ∅|t
SELECT * FROM pre_ro;  -- expect the same

-- query sc (ways: snap, pre)
SELECT o.k, (SELECT count(*) FROM b b WHERE b.y = o.k) n FROM o o;
-- expect 3 rows
--   1|1
--   5|0
--   ∅|0
SELECT * FROM pre_sc;  -- expect the same

-- query scg (ways: snap, pre)
SELECT o.k, (SELECT max(y) FROM b b WHERE b.y <= o.k) n FROM o o;
-- expect 3 rows
--   1|1
--   5|2
--   ∅|∅
SELECT * FROM pre_scg;  -- expect the same

-- query on (ways: snap, pre)
SELECT k FROM o o WHERE k = (SELECT b.id FROM a a LEFT JOIN b b ON (a.id = o.k) ORDER BY 1 LIMIT 1);
-- expect 1 rows
--   1
SELECT * FROM pre_on;  -- expect the same

-- query lat (ways: snap, pre)
SELECT o.k, z.y FROM o o LEFT JOIN LATERAL (SELECT y FROM b b WHERE b.y >= o.k ORDER BY y LIMIT 1) z ON true;
-- expect 3 rows
--   1|1
--   5|∅
--   ∅|∅
SELECT * FROM pre_lat;  -- expect the same

DROP TABLE IF EXISTS b CASCADE;
DROP TABLE IF EXISTS a CASCADE;
DROP TABLE IF EXISTS o CASCADE;
