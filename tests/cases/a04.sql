-- a04: NULLs as group keys and as arguments; array_agg OVER a partition

CREATE STREAM s (x INT, y INT, v TEXT[]);
CREATE MATERIALIZED VIEW pre_n AS SELECT y, count(x) c, count(*) n, sum(x) s, avg(x) a, min(x) m FROM s GROUP BY y;
CREATE MATERIALIZED VIEW pre_two AS SELECT x, y, count(*) n FROM s GROUP BY x, y;
CREATE MATERIALIZED VIEW pre_arr AS SELECT v, count(*) n FROM s GROUP BY v;
CREATE MATERIALIZED VIEW pre_un AS SELECT y, unnest(v) e FROM s;

INSERT INTO s VALUES (NULL,1,ARRAY['a']),(1,1,ARRAY['b']);
INSERT INTO s VALUES (2,NULL,ARRAY['c']),(NULL,NULL,NULL);

-- query n (ways: snap, pre, post, sub)
SELECT y, count(x) c, count(*) n, sum(x) s, avg(x) a, min(x) m FROM s GROUP BY y;
-- expect 2 rows
--   1|1|2|1|1|1
--   ∅|1|2|2|2|2
SELECT * FROM pre_n;  -- expect the same

-- query two (ways: snap, pre, post, sub)
SELECT x, y, count(*) n FROM s GROUP BY x, y;
-- expect 4 rows
--   1|1|1
--   2|∅|1
--   ∅|1|1
--   ∅|∅|1
SELECT * FROM pre_two;  -- expect the same

-- query arr (ways: snap, pre, post, sub)
SELECT v, count(*) n FROM s GROUP BY v;
-- expect 4 rows
--   {a}|1
--   {b}|1
--   {c}|1
--   ∅|1
SELECT * FROM pre_arr;  -- expect the same

-- query over (ways: snap)
SELECT y, array_agg(x) OVER (PARTITION BY y ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) a FROM s;
-- expect 4 rows
--   1|{1,NULL}
--   1|{1,NULL}
--   ∅|{2,NULL}
--   ∅|{2,NULL}

-- query un (ways: snap, pre, post, sub)
SELECT y, unnest(v) e FROM s;
-- expect 3 rows
--   1|a
--   1|b
--   ∅|c
SELECT * FROM pre_un;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
