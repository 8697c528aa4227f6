-- j01: NULL join keys: FULL JOIN of a stream with itself, IS NOT DISTINCT FROM

CREATE STREAM a (id INT, x INT);
CREATE STREAM b (id INT, y INT);
CREATE MATERIALIZED VIEW pre_self AS SELECT l.id lid, l.x lx, r.id rid, r.x rx FROM a l FULL JOIN a r ON l.id = r.id;
CREATE MATERIALIZED VIEW pre_full AS SELECT l.id lid, x, r.id rid, y FROM a l FULL JOIN b r ON l.id = r.id;
CREATE MATERIALIZED VIEW pre_nsafe AS SELECT l.id lid, x, y FROM a l JOIN b r ON l.id IS NOT DISTINCT FROM r.id;
CREATE MATERIALIZED VIEW pre_lsafe AS SELECT l.id lid, x, y FROM a l LEFT JOIN b r ON l.id IS NOT DISTINCT FROM r.id;
CREATE MATERIALIZED VIEW pre_using AS SELECT id, x, y FROM a FULL JOIN b USING (id);
CREATE MATERIALIZED VIEW pre_anti AS SELECT x FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.id = a.id);
CREATE MATERIALIZED VIEW pre_semi AS SELECT x FROM a WHERE id IN (SELECT id FROM b);
CREATE MATERIALIZED VIEW pre_notin AS SELECT x FROM a WHERE id NOT IN (SELECT id FROM b WHERE id IS NOT NULL);
CREATE MATERIALIZED VIEW pre_notinnull AS SELECT x FROM a WHERE id NOT IN (SELECT id FROM b);
CREATE MATERIALIZED VIEW pre_exleft AS SELECT x FROM a WHERE EXISTS (SELECT b.id FROM b b LEFT JOIN b c ON b.id = c.id AND b.y < c.y WHERE b.id = a.id);

INSERT INTO a VALUES (NULL,1),(1,2);
INSERT INTO b VALUES (1,10),(NULL,20);
INSERT INTO a VALUES (2,3),(NULL,4);
INSERT INTO b VALUES (3,30),(1,11);

-- query self (ways: snap, pre, post, sub)
SELECT l.id lid, l.x lx, r.id rid, r.x rx FROM a l FULL JOIN a r ON l.id = r.id;
-- expect 6 rows
--   1|2|1|2
--   2|3|2|3
--   ∅|1|∅|∅
--   ∅|4|∅|∅
--   ∅|∅|∅|1
--   ∅|∅|∅|4
SELECT * FROM pre_self;  -- expect the same

-- query full (ways: snap, pre, post, sub)
SELECT l.id lid, x, r.id rid, y FROM a l FULL JOIN b r ON l.id = r.id;
-- expect 7 rows
--   1|2|1|10
--   1|2|1|11
--   2|3|∅|∅
--   ∅|1|∅|∅
--   ∅|4|∅|∅
--   ∅|∅|3|30
--   ∅|∅|∅|20
SELECT * FROM pre_full;  -- expect the same

-- query nsafe (ways: snap, pre, post, sub)
SELECT l.id lid, x, y FROM a l JOIN b r ON l.id IS NOT DISTINCT FROM r.id;
-- expect 4 rows
--   1|2|10
--   1|2|11
--   ∅|1|20
--   ∅|4|20
SELECT * FROM pre_nsafe;  -- expect the same

-- query lsafe (ways: snap, pre, post, sub)
SELECT l.id lid, x, y FROM a l LEFT JOIN b r ON l.id IS NOT DISTINCT FROM r.id;
-- expect 5 rows
--   1|2|10
--   1|2|11
--   2|3|∅
--   ∅|1|20
--   ∅|4|20
SELECT * FROM pre_lsafe;  -- expect the same

-- query using (ways: snap, pre, post, sub)
SELECT id, x, y FROM a FULL JOIN b USING (id);
-- expect 7 rows
--   1|2|10
--   1|2|11
--   2|3|∅
--   3|∅|30
--   ∅|1|∅
--   ∅|4|∅
--   ∅|∅|20
SELECT * FROM pre_using;  -- expect the same

-- query anti (ways: snap, pre, post, sub)
SELECT x FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.id = a.id);
-- expect 3 rows
--   1
--   3
--   4
SELECT * FROM pre_anti;  -- expect the same

-- query semi (ways: snap, pre, post, sub)
SELECT x FROM a WHERE id IN (SELECT id FROM b);
-- expect 1 rows
--   2
SELECT * FROM pre_semi;  -- expect the same

-- query notin (ways: snap, pre, post, sub)
SELECT x FROM a WHERE id NOT IN (SELECT id FROM b WHERE id IS NOT NULL);
-- expect 1 rows
--   3
SELECT * FROM pre_notin;  -- expect the same

-- query notinnull (ways: snap, pre, post, sub)
SELECT x FROM a WHERE id NOT IN (SELECT id FROM b);
-- expect 0 rows
SELECT * FROM pre_notinnull;  -- expect the same

-- query exleft (ways: snap, pre, post, sub)
SELECT x FROM a WHERE EXISTS (SELECT b.id FROM b b LEFT JOIN b c ON b.id = c.id AND b.y < c.y WHERE b.id = a.id);
-- expect 1 rows
--   2
SELECT * FROM pre_exleft;  -- expect the same

DROP STREAM IF EXISTS b CASCADE;
DROP STREAM IF EXISTS a CASCADE;
