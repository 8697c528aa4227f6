-- a07: group emptied row by row and filled again; max after deleting the max

CREATE TABLE p (id INT PRIMARY KEY, a TEXT, v INT);
CREATE MATERIALIZED VIEW pre_d AS SELECT a, count(DISTINCT v) n FROM p GROUP BY a;
CREATE MATERIALIZED VIEW pre_g AS SELECT count(*) n, max(v) m FROM p;
CREATE MATERIALIZED VIEW pre_t AS SELECT id, a FROM (SELECT *, row_number() OVER (PARTITION BY a ORDER BY v DESC) r FROM p) x WHERE r = 1;
CREATE MATERIALIZED VIEW pre_l AS SELECT id, v FROM p ORDER BY v DESC LIMIT 1;

INSERT INTO p VALUES (1,'x',5),(2,'x',9);
DELETE FROM p WHERE id = 1;
DELETE FROM p WHERE id = 2;
INSERT INTO p VALUES (3,'x',1);
INSERT INTO p VALUES (4,'y',10),(5,'y',20);
DELETE FROM p WHERE id = 5;
UPDATE p SET a = 'x' WHERE id = 4;
INSERT INTO p VALUES (3,'z',7) ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a, v = EXCLUDED.v;

-- query d (ways: snap, pre, post, sub)
SELECT a, count(DISTINCT v) n FROM p GROUP BY a;
-- expect 2 rows
--   x|1
--   z|1
SELECT * FROM pre_d;  -- expect the same

-- query g (ways: snap, pre, post, sub)
SELECT count(*) n, max(v) m FROM p;
-- expect 1 rows
--   2|10
SELECT * FROM pre_g;  -- expect the same

-- query t (ways: snap, pre, post, sub)
SELECT id, a FROM (SELECT *, row_number() OVER (PARTITION BY a ORDER BY v DESC) r FROM p) x WHERE r = 1;
-- expect 2 rows
--   3|z
--   4|x
SELECT * FROM pre_t;  -- expect the same

-- query l (ways: snap, pre, post, sub)
SELECT id, v FROM p ORDER BY v DESC LIMIT 1;
-- expect 1 rows
--   4|10
SELECT * FROM pre_l;  -- expect the same

DROP TABLE IF EXISTS p CASCADE;
