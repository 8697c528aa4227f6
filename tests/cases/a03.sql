-- a03: several DISTINCT aggregates with FILTER, string_agg ORDER BY, per window and per key

CREATE STREAM s (a INT, b INT, c TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 hour');
CREATE MATERIALIZED VIEW pre_g AS SELECT count(DISTINCT a) x, count(DISTINCT b) y, count(DISTINCT c) z, max(b) m, count(*) n FROM s;
CREATE MATERIALIZED VIEW pre_k AS SELECT a, count(DISTINCT b) y, count(DISTINCT c) z, max(b) m, sum(DISTINCT b) sd, sum(b) s, avg(DISTINCT b) ad FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_f AS SELECT a, count(DISTINCT c) FILTER (WHERE b < 3) f, count(*) FILTER (WHERE c IS NULL) g, sum(b) FILTER (WHERE b > 100) h FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_w AS SELECT window_start, count(DISTINCT c) z, count(DISTINCT b) FILTER (WHERE a = 1) y, sum(DISTINCT b) sd FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_hop AS SELECT window_start, a, count(DISTINCT c) z, min(c) mn FROM HOP(s, ts, INTERVAL '5 s', INTERVAL '10 s') GROUP BY window_start, window_end, a;
CREATE MATERIALIZED VIEW pre_sa AS SELECT a, string_agg(c, ',' ORDER BY c) sa, string_agg(DISTINCT c, ',' ORDER BY c) sd FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_saf AS SELECT b, string_agg(c, ',' ORDER BY c DESC) FILTER (WHERE a < 2) sa FROM s GROUP BY b;
CREATE MATERIALIZED VIEW pre_aa AS SELECT a, array_agg(c ORDER BY ts) aa, array_agg(DISTINCT b ORDER BY b) ab FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_bo AS SELECT a, bool_and(b > 2) x, bool_or(b > 2) y, every(b IS NOT NULL) z FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_st AS SELECT a, stddev_pop(b) sp, var_samp(b) vs, corr(a::float8, b::float8) co FROM s GROUP BY a;
CREATE MATERIALIZED VIEW pre_pc AS SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b) p, mode() WITHIN GROUP (ORDER BY c) m FROM s;
CREATE MATERIALIZED VIEW pre_h AS SELECT a, count(*) n FROM s GROUP BY a HAVING count(DISTINCT c) > 1 AND max(b) IS NOT NULL;
CREATE MATERIALIZED VIEW pre_dd AS SELECT DISTINCT a, b FROM s;
CREATE MATERIALIZED VIEW pre_one AS SELECT DISTINCT 94 AS c FROM s GROUP BY a;

INSERT INTO s VALUES (1,2,'a','2024-01-01 00:00:01'),(1,2,'b','2024-01-01 00:00:02'),(5,3,'a','2024-01-01 00:00:03');
INSERT INTO s VALUES (1,NULL,'b','2024-01-01 00:00:04'),(1,4,NULL,'2024-01-01 00:00:11'),(5,3,'a','2024-01-01 00:00:05');
INSERT INTO s VALUES (1,2,'c','2024-01-01 00:00:06'),(5,3,'z','2024-01-01 00:00:12');

-- query g (ways: snap, pre, post, sub)
SELECT count(DISTINCT a) x, count(DISTINCT b) y, count(DISTINCT c) z, max(b) m, count(*) n FROM s;
-- expect 1 rows
--   2|3|4|4|8
SELECT * FROM pre_g;  -- expect the same

-- query k (ways: snap, pre, post, sub)
SELECT a, count(DISTINCT b) y, count(DISTINCT c) z, max(b) m, sum(DISTINCT b) sd, sum(b) s, avg(DISTINCT b) ad FROM s GROUP BY a;
-- expect 2 rows
--   1|2|3|4|6|10|3
--   5|1|2|3|3|9|3
SELECT * FROM pre_k;  -- expect the same

-- query f (ways: snap, pre, post, sub)
SELECT a, count(DISTINCT c) FILTER (WHERE b < 3) f, count(*) FILTER (WHERE c IS NULL) g, sum(b) FILTER (WHERE b > 100) h FROM s GROUP BY a;
-- expect 2 rows
--   1|3|1|∅
--   5|0|0|∅
SELECT * FROM pre_f;  -- expect the same

-- query w (ways: snap, pre, post, sub, eowc)
SELECT window_start, count(DISTINCT c) z, count(DISTINCT b) FILTER (WHERE a = 1) y, sum(DISTINCT b) sd FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end;
-- expect 2 rows
--   2024-01-01 00:00:00|3|1|5
--   2024-01-01 00:00:10|1|1|7
SELECT * FROM pre_w;  -- expect the same

-- query hop (ways: snap, pre, post, sub, eowc)
SELECT window_start, a, count(DISTINCT c) z, min(c) mn FROM HOP(s, ts, INTERVAL '5 s', INTERVAL '10 s') GROUP BY window_start, window_end, a;
-- expect 8 rows
--   2023-12-31 23:59:55|1|2|a
--   2023-12-31 23:59:55|5|1|a
--   2024-01-01 00:00:00|1|3|a
--   2024-01-01 00:00:00|5|1|a
--   2024-01-01 00:00:05|1|1|c
--   2024-01-01 00:00:05|5|2|a
--   2024-01-01 00:00:10|1|0|∅
--   2024-01-01 00:00:10|5|1|z
SELECT * FROM pre_hop;  -- expect the same

-- query sa (ways: snap, pre, post, sub)
SELECT a, string_agg(c, ',' ORDER BY c) sa, string_agg(DISTINCT c, ',' ORDER BY c) sd FROM s GROUP BY a;
-- expect 2 rows
--   1|a,b,b,c|a,b,c
--   5|a,a,z|a,z
SELECT * FROM pre_sa;  -- expect the same

-- query saf (ways: snap, pre, post, sub)
SELECT b, string_agg(c, ',' ORDER BY c DESC) FILTER (WHERE a < 2) sa FROM s GROUP BY b;
-- expect 4 rows
--   2|c,b,a
--   3|∅
--   4|∅
--   ∅|b
SELECT * FROM pre_saf;  -- expect the same

-- query aa (ways: snap, pre, post, sub)
SELECT a, array_agg(c ORDER BY ts) aa, array_agg(DISTINCT b ORDER BY b) ab FROM s GROUP BY a;
-- expect 2 rows
--   1|{a,b,b,c,NULL}|{2,4,NULL}
--   5|{a,a,z}|{3}
SELECT * FROM pre_aa;  -- expect the same

-- query bo (ways: snap, pre, post, sub)
SELECT a, bool_and(b > 2) x, bool_or(b > 2) y, every(b IS NOT NULL) z FROM s GROUP BY a;
-- expect 2 rows
--   1|f|t|f
--   5|t|t|t
SELECT * FROM pre_bo;  -- expect the same

-- query st (ways: snap, pre, post, sub)
SELECT a, stddev_pop(b) sp, var_samp(b) vs, corr(a::float8, b::float8) co FROM s GROUP BY a;
-- expect 2 rows
--   1|0.866025403784|1|∅
--   5|0|0|∅
SELECT * FROM pre_st;  -- expect the same

-- query pc (ways: snap, pre)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b) p, mode() WITHIN GROUP (ORDER BY c) m FROM s;
-- expect 1 rows
--   3|a
SELECT * FROM pre_pc;  -- expect the same

-- query h (ways: snap, pre, post, sub)
SELECT a, count(*) n FROM s GROUP BY a HAVING count(DISTINCT c) > 1 AND max(b) IS NOT NULL;
-- expect 2 rows
--   1|5
--   5|3
SELECT * FROM pre_h;  -- expect the same

-- query dd (ways: snap, pre, post, sub)
SELECT DISTINCT a, b FROM s;
-- expect 4 rows
--   1|2
--   1|4
--   1|∅
--   5|3
SELECT * FROM pre_dd;  -- expect the same

-- query one (ways: snap, pre, post, sub)
SELECT DISTINCT 94 AS c FROM s GROUP BY a;
-- expect 1 rows
--   94
SELECT * FROM pre_one;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
