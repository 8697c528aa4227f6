-- d10: aggregate of aggregate, distinct on aggregate, averages of groups: all must retract

CREATE STREAM s (u INT, p INT);
CREATE MATERIALIZED VIEW pre_m AS SELECT max(s) mx, min(s) mn, avg(s) a, count(DISTINCT s) d FROM (SELECT u, sum(p) s FROM s GROUP BY u) t;
CREATE MATERIALIZED VIEW pre_top AS SELECT u, s FROM (SELECT u, s, row_number() OVER (ORDER BY s DESC, u) r FROM (SELECT u, sum(p) s FROM s GROUP BY u) t) x WHERE r <= 2;
CREATE MATERIALIZED VIEW pre_d AS SELECT DISTINCT c FROM (SELECT u, count(*) c FROM s GROUP BY u) t;
CREATE MATERIALIZED VIEW pre_hv AS SELECT u FROM s GROUP BY u HAVING sum(p) = 30;
CREATE MATERIALIZED VIEW pre_j AS SELECT a.u, a.s, b.t FROM (SELECT u, sum(p) s FROM s GROUP BY u) a JOIN (SELECT sum(p) t FROM s) b ON true;
CREATE MATERIALIZED VIEW pre_pct AS SELECT u, round(100.0 * s / t, 1) pc FROM (SELECT u, sum(p) s FROM s GROUP BY u) a CROSS JOIN (SELECT sum(p) t FROM s) b;
CREATE MATERIALIZED VIEW pre_uni AS SELECT u FROM s UNION SELECT p FROM s;

INSERT INTO s VALUES (1,10);
INSERT INTO s VALUES (1,20),(2,5);
INSERT INTO s VALUES (2,25),(3,30);
INSERT INTO s VALUES (NULL,1);

-- query m (ways: snap, pre, post, sub)
SELECT max(s) mx, min(s) mn, avg(s) a, count(DISTINCT s) d FROM (SELECT u, sum(p) s FROM s GROUP BY u) t;
-- expect 1 rows
--   30|1|22.75|2
SELECT * FROM pre_m;  -- expect the same

-- query top (ways: snap, pre, post, sub)
SELECT u, s FROM (SELECT u, s, row_number() OVER (ORDER BY s DESC, u) r FROM (SELECT u, sum(p) s FROM s GROUP BY u) t) x WHERE r <= 2;
-- expect 2 rows
--   1|30
--   2|30
SELECT * FROM pre_top;  -- expect the same

-- query d (ways: snap, pre, post, sub)
SELECT DISTINCT c FROM (SELECT u, count(*) c FROM s GROUP BY u) t;
-- expect 2 rows
--   1
--   2
SELECT * FROM pre_d;  -- expect the same

-- query hv (ways: snap, pre, post, sub)
SELECT u FROM s GROUP BY u HAVING sum(p) = 30;
-- expect 3 rows
--   1
--   2
--   3
SELECT * FROM pre_hv;  -- expect the same

-- query j (ways: snap, pre, post, sub)
SELECT a.u, a.s, b.t FROM (SELECT u, sum(p) s FROM s GROUP BY u) a JOIN (SELECT sum(p) t FROM s) b ON true;
-- expect 4 rows
--   1|30|91
--   2|30|91
--   3|30|91
--   ∅|1|91
SELECT * FROM pre_j;  -- expect the same

-- query pct (ways: snap, pre, post, sub)
SELECT u, round(100.0 * s / t, 1) pc FROM (SELECT u, sum(p) s FROM s GROUP BY u) a CROSS JOIN (SELECT sum(p) t FROM s) b;
-- expect 4 rows
--   1|33
--   2|33
--   3|33
--   ∅|1.1
SELECT * FROM pre_pct;  -- expect the same

-- query uni (ways: snap, pre, post, sub)
SELECT u FROM s UNION SELECT p FROM s;
-- expect 9 rows
--   1
--   10
--   2
--   20
--   25
--   3
--   30
--   5
--   ∅
SELECT * FROM pre_uni;  -- expect the same
