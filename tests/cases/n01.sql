-- n01: NOT IN with NULLs, three-valued logic

CREATE STREAM o (id INT, g INT);
CREATE STREAM i (id INT, g INT);
CREATE TABLE p (id INT, g INT);
CREATE TABLE q (id INT NOT NULL, g INT);
CREATE MATERIALIZED VIEW pre_c AS SELECT g FROM o o WHERE 3 NOT IN (SELECT id FROM i i WHERE i.g = o.g);
CREATE MATERIALIZED VIEW pre_k AS SELECT id FROM o WHERE 3 NOT IN (SELECT id FROM i);
CREATE MATERIALIZED VIEW pre_eq AS SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.id = o.id);
CREATE MATERIALIZED VIEW pre_ne AS SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.g < o.g);
CREATE MATERIALIZED VIEW pre_ne2 AS SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.g > o.g);
CREATE MATERIALIZED VIEW pre_or AS SELECT id, g FROM o WHERE id NOT IN (SELECT id FROM i) OR g = 1;
CREATE MATERIALIZED VIEW pre_isn AS SELECT id, g FROM o WHERE (id NOT IN (SELECT id FROM i)) IS NULL;
CREATE MATERIALIZED VIEW pre_sel AS SELECT id, id IN (SELECT id FROM i) a, id NOT IN (SELECT id FROM q) b FROM o;
CREATE MATERIALIZED VIEW pre_tup AS SELECT id, g FROM o WHERE (id, g) NOT IN (SELECT id, g FROM i WHERE id IS NOT NULL);
CREATE MATERIALIZED VIEW pre_any AS SELECT id FROM o WHERE id = ANY (SELECT id FROM i);
CREATE MATERIALIZED VIEW pre_all AS SELECT id FROM o WHERE id <> ALL (SELECT id FROM q);
CREATE MATERIALIZED VIEW pre_gt AS SELECT id FROM o WHERE id >= ALL (SELECT id FROM q);

INSERT INTO o VALUES (1,1),(2,2),(NULL,3),(4,4);
INSERT INTO i VALUES (1,1),(NULL,2),(5,1);
INSERT INTO p VALUES (1,10),(NULL,50),(5,10);
INSERT INTO q VALUES (1,1),(3,NULL);

-- query c (ways: snap, pre)
SELECT g FROM o o WHERE 3 NOT IN (SELECT id FROM i i WHERE i.g = o.g);
-- expect 3 rows
--   1
--   3
--   4
SELECT * FROM pre_c;  -- expect the same

-- query k (ways: snap, pre)
SELECT id FROM o WHERE 3 NOT IN (SELECT id FROM i);
-- expect 0 rows
SELECT * FROM pre_k;  -- expect the same

-- query eq (ways: snap, pre)
SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.id = o.id);
-- expect 3 rows
--   2|2
--   4|4
--   ∅|3
SELECT * FROM pre_eq;  -- expect the same

-- query ne (ways: snap, pre)
SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.g < o.g);
-- expect 4 rows
--   1|1
--   2|2
--   4|4
--   ∅|3
SELECT * FROM pre_ne;  -- expect the same

-- query ne2 (ways: snap, pre)
SELECT id, g FROM o o WHERE id NOT IN (SELECT i.id FROM p i WHERE i.g > o.g);
-- expect 0 rows
SELECT * FROM pre_ne2;  -- expect the same

-- query or (ways: snap, pre)
SELECT id, g FROM o WHERE id NOT IN (SELECT id FROM i) OR g = 1;
-- expect 1 rows
--   1|1
SELECT * FROM pre_or;  -- expect the same

-- query isn (ways: snap, pre)
SELECT id, g FROM o WHERE (id NOT IN (SELECT id FROM i)) IS NULL;
-- expect 3 rows
--   2|2
--   4|4
--   ∅|3
SELECT * FROM pre_isn;  -- expect the same

-- query sel (ways: snap, pre)
SELECT id, id IN (SELECT id FROM i) a, id NOT IN (SELECT id FROM q) b FROM o;
-- expect 4 rows
--   1|t|f
--   2|∅|t
--   4|∅|t
--   ∅|∅|∅
SELECT * FROM pre_sel;  -- expect the same

-- query tup (ways: snap, pre)
SELECT id, g FROM o WHERE (id, g) NOT IN (SELECT id, g FROM i WHERE id IS NOT NULL);
-- expect 3 rows
--   2|2
--   4|4
--   ∅|3
SELECT * FROM pre_tup;  -- expect the same

-- query any (ways: snap, pre)
SELECT id FROM o WHERE id = ANY (SELECT id FROM i);
-- expect 1 rows
--   1
SELECT * FROM pre_any;  -- expect the same

-- query all (ways: snap, pre)
SELECT id FROM o WHERE id <> ALL (SELECT id FROM q);
-- expect 2 rows
--   2
--   4
SELECT * FROM pre_all;  -- expect the same

-- query gt (ways: snap, pre)
SELECT id FROM o WHERE id >= ALL (SELECT id FROM q);
-- expect 1 rows
--   4
SELECT * FROM pre_gt;  -- expect the same

DROP TABLE IF EXISTS q CASCADE;
DROP TABLE IF EXISTS p CASCADE;
DROP STREAM IF EXISTS i CASCADE;
DROP STREAM IF EXISTS o CASCADE;
