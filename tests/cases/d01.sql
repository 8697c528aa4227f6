-- d01: ORDER BY inside order-insensitive aggregates; array_agg(DISTINCT) in groups

CREATE STREAM s (g INT, x INT, y INT);
CREATE MATERIALIZED VIEW pre_a AS SELECT g, avg(x ORDER BY y) a, stddev_samp(x ORDER BY y) s, count(x ORDER BY y) c, sum(x ORDER BY y DESC) t, bit_and(x ORDER BY y) b FROM s GROUP BY g;
CREATE MATERIALIZED VIEW pre_b AS SELECT avg(x ORDER BY y) a, array_agg(x ORDER BY y) arr FROM s;
CREATE MATERIALIZED VIEW pre_d AS SELECT g, array_agg(DISTINCT x) a, count(DISTINCT y) c FROM s GROUP BY g;
CREATE MATERIALIZED VIEW pre_fv AS SELECT g, (array_agg(x ORDER BY y DESC))[1] l, max(y) - min(y) r FROM s GROUP BY g;
CREATE MATERIALIZED VIEW pre_jo AS SELECT g, jsonb_agg(x ORDER BY y) j, jsonb_object_agg(y, x) o FROM s GROUP BY g;

INSERT INTO s VALUES (1,5,2),(1,7,1),(2,NULL,3);
INSERT INTO s VALUES (1,5,9),(2,4,1);

-- query a (ways: snap, pre, post, sub)
SELECT g, avg(x ORDER BY y) a, stddev_samp(x ORDER BY y) s, count(x ORDER BY y) c, sum(x ORDER BY y DESC) t, bit_and(x ORDER BY y) b FROM s GROUP BY g;
-- expect 2 rows
--   1|5.66666666667|1.15470053838|3|17|5
--   2|4|∅|1|4|4
SELECT * FROM pre_a;  -- expect the same

-- query b (ways: snap, pre, post, sub)
SELECT avg(x ORDER BY y) a, array_agg(x ORDER BY y) arr FROM s;
-- expect 1 rows
--   5.25|{7,4,5,NULL,5}
SELECT * FROM pre_b;  -- expect the same

-- query d (ways: snap, pre, post, sub)
SELECT g, array_agg(DISTINCT x) a, count(DISTINCT y) c FROM s GROUP BY g;
-- expect 2 rows
--   1|{5,7}|3
--   2|{4,NULL}|2
SELECT * FROM pre_d;  -- expect the same

-- query fv (ways: snap, pre, post, sub)
SELECT g, (array_agg(x ORDER BY y DESC))[1] l, max(y) - min(y) r FROM s GROUP BY g;
-- expect 2 rows
--   1|5|8
--   2|∅|2
SELECT * FROM pre_fv;  -- expect the same

-- query jo (ways: snap, pre)
SELECT g, jsonb_agg(x ORDER BY y) j, jsonb_object_agg(y, x) o FROM s GROUP BY g;
-- expect 2 rows
--   1|[7, 5, 5]|{"1": 7, "2": 5, "9": 5}
--   2|[4, null]|{"1": 4, "3": null}
SELECT * FROM pre_jo;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
