-- d08: filter against an aggregate of another relation; other side emptied and refilled

CREATE TABLE a (v INT);
CREATE TABLE b (w INT);
CREATE MATERIALIZED VIEW pre_s AS SELECT v FROM a WHERE v > (SELECT max(w) FROM b);
CREATE MATERIALIZED VIEW pre_m AS SELECT v FROM a WHERE v = (SELECT max(v) FROM a);
CREATE MATERIALIZED VIEW pre_ex AS SELECT v FROM a WHERE EXISTS (SELECT 1 FROM b WHERE w < v);
CREATE MATERIALIZED VIEW pre_no AS SELECT v FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE w < v);

INSERT INTO b VALUES (0);
INSERT INTO a VALUES (233),(-1);
DELETE FROM b;
INSERT INTO b VALUES (100),(100);
UPDATE b SET w = 50 WHERE w = 100;
INSERT INTO a VALUES (101),(99);

-- query s (ways: snap, pre, post, sub)
SELECT v FROM a WHERE v > (SELECT max(w) FROM b);
-- expect 3 rows
--   101
--   233
--   99
SELECT * FROM pre_s;  -- expect the same

-- query m (ways: snap, pre, post, sub)
SELECT v FROM a WHERE v = (SELECT max(v) FROM a);
-- expect 1 rows
--   233
SELECT * FROM pre_m;  -- expect the same

-- query ex (ways: snap, pre, post, sub)
SELECT v FROM a WHERE EXISTS (SELECT 1 FROM b WHERE w < v);
-- expect 3 rows
--   101
--   233
--   99
SELECT * FROM pre_ex;  -- expect the same

-- query no (ways: snap, pre, post, sub)
SELECT v FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE w < v);
-- expect 1 rows
--   -1
SELECT * FROM pre_no;  -- expect the same

DROP TABLE IF EXISTS b CASCADE;
DROP TABLE IF EXISTS a CASCADE;
