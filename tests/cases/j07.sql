-- j07: chain of FULL JOIN USING; RIGHT JOIN with two-part condition

CREATE STREAM a (k INT, v1 INT);
CREATE STREAM b (k INT, v2 INT);
CREATE STREAM c (k INT, v3 INT);
CREATE MATERIALIZED VIEW pre_r AS SELECT a.k ak, b.k bk, c.k ck FROM a a JOIN b b ON a.k = b.k RIGHT JOIN c c ON b.k = c.k AND a.v1 < c.v3;
CREATE MATERIALIZED VIEW pre_l3 AS SELECT a.k, v2, v3 FROM a a LEFT JOIN b b ON a.k=b.k LEFT JOIN c c ON c.k = b.k + 1;

INSERT INTO a VALUES (1,1),(2,2);
INSERT INTO c VALUES (3,3),(1,9);
INSERT INTO b VALUES (2,20),(3,30),(NULL,40);
INSERT INTO c VALUES (2,7);

-- query r (ways: snap, pre, post, sub)
SELECT a.k ak, b.k bk, c.k ck FROM a a JOIN b b ON a.k = b.k RIGHT JOIN c c ON b.k = c.k AND a.v1 < c.v3;
-- expect 3 rows
--   2|2|2
--   ∅|∅|1
--   ∅|∅|3
SELECT * FROM pre_r;  -- expect the same

-- query l3 (ways: snap, pre, post, sub)
SELECT a.k, v2, v3 FROM a a LEFT JOIN b b ON a.k=b.k LEFT JOIN c c ON c.k = b.k + 1;
-- expect 2 rows
--   1|∅|∅
--   2|20|3
SELECT * FROM pre_l3;  -- expect the same

DROP STREAM IF EXISTS c CASCADE;
DROP STREAM IF EXISTS b CASCADE;
DROP STREAM IF EXISTS a CASCADE;
