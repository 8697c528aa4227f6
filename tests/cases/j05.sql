-- j05: interval join: bounds inclusive, LEFT JOIN emits the NULL row only when nothing matched

CREATE STREAM o (id INT, amt INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE STREAM i (id INT, prod TEXT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_inner AS SELECT o.id, amt, prod FROM o o JOIN i i ON o.id = i.id AND i.ts BETWEEN o.ts - INTERVAL '3 seconds' AND o.ts + INTERVAL '3 seconds';
CREATE MATERIALIZED VIEW pre_wh AS SELECT o.id, amt, prod FROM o o, i i WHERE o.id = i.id AND o.ts BETWEEN i.ts - INTERVAL '2' SECOND AND i.ts;
CREATE MATERIALIZED VIEW pre_asym AS SELECT o.amt, i.prod FROM o o JOIN i i ON o.id = i.id AND i.ts > o.ts + INTERVAL '2 seconds' AND i.ts <= o.ts + INTERVAL '3 seconds';

INSERT INTO o VALUES (1,10,'2024-07-07 23:50:17'),(2,3,'2024-07-07 23:50:17');
INSERT INTO i VALUES (1,'foo','2024-07-07 23:50:19'),(1,'bar','2024-07-07 23:50:20');
INSERT INTO i VALUES (1,'edge','2024-07-07 23:50:20'),(2,'out','2024-07-07 23:50:20.001');
INSERT INTO o VALUES (2,4,'2024-07-07 23:50:23.001');
INSERT INTO i VALUES (2,'in','2024-07-07 23:50:23.001');
SELECT advance_watermark('o', 'infinity');
SELECT advance_watermark('i', 'infinity');

-- query inner (ways: snap, pre, post, sub, eowc)
SELECT o.id, amt, prod FROM o o JOIN i i ON o.id = i.id AND i.ts BETWEEN o.ts - INTERVAL '3 seconds' AND o.ts + INTERVAL '3 seconds';
-- expect 5 rows
--   1|10|bar
--   1|10|edge
--   1|10|foo
--   2|4|in
--   2|4|out
SELECT * FROM pre_inner;  -- expect the same

-- query wh (ways: snap, pre, post, sub, eowc)
SELECT o.id, amt, prod FROM o o, i i WHERE o.id = i.id AND o.ts BETWEEN i.ts - INTERVAL '2' SECOND AND i.ts;
-- expect 2 rows
--   1|10|foo
--   2|4|in
SELECT * FROM pre_wh;  -- expect the same

-- query asym (ways: snap, pre, post, sub, eowc)
SELECT o.amt, i.prod FROM o o JOIN i i ON o.id = i.id AND i.ts > o.ts + INTERVAL '2 seconds' AND i.ts <= o.ts + INTERVAL '3 seconds';
-- expect 2 rows
--   10|bar
--   10|edge
SELECT * FROM pre_asym;  -- expect the same

DROP STREAM IF EXISTS i CASCADE;
DROP STREAM IF EXISTS o CASCADE;
