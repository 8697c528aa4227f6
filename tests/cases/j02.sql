-- j02: outer join after the matching row was deleted

CREATE TABLE p (v1 INT, v2 INT);
CREATE TABLE q (v1 INT, v2 INT);
CREATE MATERIALIZED VIEW pre_f AS SELECT p.v1 a, q.v1 b, q.v2 c FROM p p FULL OUTER JOIN q q ON p.v1 = q.v1;
CREATE MATERIALIZED VIEW pre_l AS SELECT p.v1 a, q.v2 c FROM p p LEFT JOIN q q ON p.v1 = q.v1;
CREATE MATERIALIZED VIEW pre_agg AS SELECT v1, count(*) c, sum(v2) s, min(v2) mn FROM q GROUP BY v1;
CREATE MATERIALIZED VIEW pre_d AS SELECT DISTINCT v1 FROM q;

INSERT INTO q VALUES (3,3);
DELETE FROM q WHERE v2 = 3;
INSERT INTO p VALUES (3,3);
INSERT INTO q VALUES (4,4),(4,5);
INSERT INTO p VALUES (4,1);
DELETE FROM q WHERE v2 = 4;
UPDATE p SET v1 = 5 WHERE v1 = 4;

-- query f (ways: snap, pre, post, sub)
SELECT p.v1 a, q.v1 b, q.v2 c FROM p p FULL OUTER JOIN q q ON p.v1 = q.v1;
-- expect 3 rows
--   3|∅|∅
--   5|∅|∅
--   ∅|4|5
SELECT * FROM pre_f;  -- expect the same

-- query l (ways: snap, pre, post, sub)
SELECT p.v1 a, q.v2 c FROM p p LEFT JOIN q q ON p.v1 = q.v1;
-- expect 2 rows
--   3|∅
--   5|∅
SELECT * FROM pre_l;  -- expect the same

-- query agg (ways: snap, pre, post, sub)
SELECT v1, count(*) c, sum(v2) s, min(v2) mn FROM q GROUP BY v1;
-- expect 1 rows
--   4|1|5|5
SELECT * FROM pre_agg;  -- expect the same

-- query d (ways: snap, pre, post, sub)
SELECT DISTINCT v1 FROM q;
-- expect 1 rows
--   4
SELECT * FROM pre_d;  -- expect the same

DROP TABLE IF EXISTS q CASCADE;
DROP TABLE IF EXISTS p CASCADE;
