-- d03: filters above outer joins that do not reject NULLs; casts that must not run before the join

CREATE STREAM a (id INT, y TEXT);
CREATE STREAM b (id INT, v INT);
CREATE MATERIALIZED VIEW pre_nt AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS NOT TRUE;
CREATE MATERIALIZED VIEW pre_t AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS TRUE;
CREATE MATERIALIZED VIEW pre_u AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS UNKNOWN;
CREATE MATERIALIZED VIEW pre_co AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE coalesce(b.v, 0) = 0;
CREATE MATERIALIZED VIEW pre_ca AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE CASE WHEN coalesce(b.v, 0) > 0 THEN 1 ELSE 0 END = 0;
CREATE MATERIALIZED VIEW pre_ex AS SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE NOT (b.v = 5) OR b.v IS NULL;
CREATE MATERIALIZED VIEW pre_ka AS SELECT a.id, v FROM a a FULL JOIN b b ON a.id = b.id WHERE coalesce(a.id, b.id) = 1;
CREATE MATERIALIZED VIEW pre_div AS SELECT a.id, 10 / b.v q FROM a a JOIN b b ON a.id = b.id AND b.v <> 0;

INSERT INTO a VALUES (1,'1'),(2,'x'),(NULL,'y');
INSERT INTO b VALUES (1,0),(1,5),(NULL,7);

-- query nt (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS NOT TRUE;
-- expect 3 rows
--   1|0
--   2|∅
--   ∅|∅
SELECT * FROM pre_nt;  -- expect the same

-- query t (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS TRUE;
-- expect 1 rows
--   1|5
SELECT * FROM pre_t;  -- expect the same

-- query u (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE (b.v > 3) IS UNKNOWN;
-- expect 2 rows
--   2|∅
--   ∅|∅
SELECT * FROM pre_u;  -- expect the same

-- query co (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE coalesce(b.v, 0) = 0;
-- expect 3 rows
--   1|0
--   2|∅
--   ∅|∅
SELECT * FROM pre_co;  -- expect the same

-- query ca (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE CASE WHEN coalesce(b.v, 0) > 0 THEN 1 ELSE 0 END = 0;
-- expect 3 rows
--   1|0
--   2|∅
--   ∅|∅
SELECT * FROM pre_ca;  -- expect the same

-- query ex (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a LEFT JOIN b b ON a.id = b.id WHERE NOT (b.v = 5) OR b.v IS NULL;
-- expect 3 rows
--   1|0
--   2|∅
--   ∅|∅
SELECT * FROM pre_ex;  -- expect the same

-- query ka (ways: snap, pre, post, sub)
SELECT a.id, v FROM a a FULL JOIN b b ON a.id = b.id WHERE coalesce(a.id, b.id) = 1;
-- expect 2 rows
--   1|0
--   1|5
SELECT * FROM pre_ka;  -- expect the same

-- query div (ways: snap, pre, post, sub)
SELECT a.id, 10 / b.v q FROM a a JOIN b b ON a.id = b.id AND b.v <> 0;
-- expect 1 rows
--   1|2
SELECT * FROM pre_div;  -- expect the same

DROP STREAM IF EXISTS b CASCADE;
DROP STREAM IF EXISTS a CASCADE;
