-- a05: decimal sums, averages, products, quotients near the limits

CREATE STREAM d (k INT, a NUMERIC(38,0), b NUMERIC(38,10), c NUMERIC(38,20), i BIGINT);
CREATE MATERIALIZED VIEW pre_suma AS SELECT k, sum(a) s FROM d GROUP BY k;
CREATE MATERIALIZED VIEW pre_avga AS SELECT k, avg(a) s FROM d GROUP BY k;
CREATE MATERIALIZED VIEW pre_sumb AS SELECT k, sum(b) s, min(b) mi, max(b) ma FROM d GROUP BY k;
CREATE MATERIALIZED VIEW pre_prod AS SELECT k, sum(b*c) p FROM d GROUP BY k;
CREATE MATERIALIZED VIEW pre_div AS SELECT k, c/3 d, a/7 e FROM d WHERE k = 2;
CREATE MATERIALIZED VIEW pre_sumi AS SELECT k, sum(i) s, avg(i) av FROM d GROUP BY k;
CREATE MATERIALIZED VIEW pre_pct AS SELECT k, round(100.0*count(*)/3, 2) p, round(avg(i::numeric),3) q FROM d WHERE k=2 GROUP BY k;

INSERT INTO d VALUES (1,99999999999999999999999999999999999999,1234567890123456789012345678.0123456789,1.5,9223372036854775807);
INSERT INTO d VALUES (1,99999999999999999999999999999999999999,0.0000000001,2.25,9223372036854775807),(2,-5,7,1,1);

-- query suma (ways: snap, pre, post, sub)
SELECT k, sum(a) s FROM d GROUP BY k;
-- expect 2 rows
--   1|200000000000000000000000000000000000000
--   2|-5
SELECT * FROM pre_suma;  -- expect the same

-- query avga (ways: snap, pre, post, sub)
SELECT k, avg(a) s FROM d GROUP BY k;
-- expect 2 rows
--   1|100000000000000000000000000000000000000
--   2|-5
SELECT * FROM pre_avga;  -- expect the same

-- query sumb (ways: snap, pre, post, sub)
SELECT k, sum(b) s, min(b) mi, max(b) ma FROM d GROUP BY k;
-- expect 2 rows
--   1|1234567890120000000000000000|0.0000000001|1234567890120000000000000000
--   2|7|7|7
SELECT * FROM pre_sumb;  -- expect the same

-- query prod (ways: snap, pre, post, sub)
SELECT k, sum(b*c) p FROM d GROUP BY k;
-- expect 2 rows
--   1|1851851835190000000000000000
--   2|7
SELECT * FROM pre_prod;  -- expect the same

-- query div (ways: snap, pre)
SELECT k, c/3 d, a/7 e FROM d WHERE k = 2;
-- expect 1 rows
--   2|0.333333333333|-0.714285714286
SELECT * FROM pre_div;  -- expect the same

-- query sumi (ways: snap, pre, post, sub)
SELECT k, sum(i) s, avg(i) av FROM d GROUP BY k;
-- expect 2 rows
--   1|18446744073709551614|9223372036854775807
--   2|1|1
SELECT * FROM pre_sumi;  -- expect the same

-- query pct (ways: snap, pre, post, sub)
SELECT k, round(100.0*count(*)/3, 2) p, round(avg(i::numeric),3) q FROM d WHERE k=2 GROUP BY k;
-- expect 1 rows
--   2|33.33|1
SELECT * FROM pre_pct;  -- expect the same

-- query int
SELECT i + 1 FROM d;
-- expect error 22003

-- query lit
SELECT 9223372036854775807 + 1;
-- expect error 22003

-- query neg
SELECT abs(-9223372036854775808);
-- expect error 22003

-- query sm
SELECT 32767::smallint + 1::smallint;
-- expect error 22003

-- query dv
SELECT (-2147483648)::int / (-1)::int;
-- expect error 22003

-- query mod
SELECT 5 % 0;
-- expect error 22012

DROP STREAM IF EXISTS d CASCADE;
