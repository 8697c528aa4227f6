-- j03: temporal LEFT JOIN with a second, non-equal condition

CREATE STREAM s (id1 INT, a1 INT, b1 INT);
CREATE TABLE v (id2 INT PRIMARY KEY, a2 INT, b2 INT);
CREATE MATERIALIZED VIEW pre_l AS SELECT id1, a1, id2, a2 FROM s LEFT JOIN v FOR SYSTEM_TIME AS OF PROCTIME() ON id1 = id2 AND a1 > a2;
CREATE MATERIALIZED VIEW pre_l2 AS SELECT id1, a1, id2, a2 FROM s LEFT JOIN v ON id1 = id2 AND a1 > a2;
CREATE MATERIALIZED VIEW pre_i AS SELECT id1, a1, a2 FROM s JOIN v FOR SYSTEM_TIME AS OF PROCTIME() ON id1 = id2 WHERE a1 > a2;
CREATE MATERIALIZED VIEW pre_w AS SELECT id1, a1, id2 FROM s LEFT JOIN v ON id1 = id2 WHERE a2 IS NULL OR a2 < 10;
CREATE MATERIALIZED VIEW pre_exprkey AS SELECT id1, a2 FROM s LEFT JOIN v ON id1 + 1 = id2 AND id1 IS NOT NULL;

INSERT INTO v VALUES (1,11,111),(2,5,55);
INSERT INTO s VALUES (1,10,111),(2,10,1),(3,9,9),(NULL,8,8);
INSERT INTO s VALUES (1,12,2);

-- query l (ways: snap, pre, post, sub, eowc)
SELECT id1, a1, id2, a2 FROM s LEFT JOIN v FOR SYSTEM_TIME AS OF PROCTIME() ON id1 = id2 AND a1 > a2;
-- expect 5 rows
--   1|10|∅|∅
--   1|12|1|11
--   2|10|2|5
--   3|9|∅|∅
--   ∅|8|∅|∅
SELECT * FROM pre_l;  -- expect the same

-- query l2 (ways: snap, pre, post, sub, eowc)
SELECT id1, a1, id2, a2 FROM s LEFT JOIN v ON id1 = id2 AND a1 > a2;
-- expect 5 rows
--   1|10|∅|∅
--   1|12|1|11
--   2|10|2|5
--   3|9|∅|∅
--   ∅|8|∅|∅
SELECT * FROM pre_l2;  -- expect the same

-- query i (ways: snap, pre, post, sub, eowc)
SELECT id1, a1, a2 FROM s JOIN v FOR SYSTEM_TIME AS OF PROCTIME() ON id1 = id2 WHERE a1 > a2;
-- expect 2 rows
--   1|12|11
--   2|10|5
SELECT * FROM pre_i;  -- expect the same

-- query w (ways: snap, pre, post, sub, eowc)
SELECT id1, a1, id2 FROM s LEFT JOIN v ON id1 = id2 WHERE a2 IS NULL OR a2 < 10;
-- expect 3 rows
--   2|10|2
--   3|9|∅
--   ∅|8|∅
SELECT * FROM pre_w;  -- expect the same

-- query exprkey (ways: snap, pre, post, sub, eowc)
SELECT id1, a2 FROM s LEFT JOIN v ON id1 + 1 = id2 AND id1 IS NOT NULL;
-- expect 5 rows
--   1|5
--   1|5
--   2|∅
--   3|∅
--   ∅|∅
SELECT * FROM pre_exprkey;  -- expect the same

DROP TABLE IF EXISTS v CASCADE;
DROP STREAM IF EXISTS s CASCADE;
