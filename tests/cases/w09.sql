-- w09: window over UNION ALL: watermark is the least of both; union of a stream with itself

CREATE STREAM a (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE STREAM b (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_u AS SELECT window_start, k, count(*) c, sum(v) s FROM TUMBLE((SELECT * FROM a UNION ALL SELECT * FROM b), ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k;
CREATE MATERIALIZED VIEW pre_selfu AS SELECT window_start, count(*) c FROM TUMBLE((SELECT * FROM a UNION ALL SELECT * FROM a), ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_tagged AS WITH u AS (SELECT 'a' src, ts, v FROM a UNION ALL SELECT 'b', ts, v FROM b) SELECT window_start, src, max(v) m FROM TUMBLE(u, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, src;

INSERT INTO a VALUES ('x',1,'2024-01-01 00:00:01'),('x',2,'2024-01-01 00:05:00');
INSERT INTO b VALUES ('y',3,'2024-01-01 00:00:02');
INSERT INTO b VALUES ('y',4,'2024-01-01 00:00:30'),('x',5,'2024-01-01 00:00:59');
INSERT INTO b VALUES ('y',6,'2024-01-01 00:06:30');
SELECT advance_watermark('a', 'infinity');
SELECT advance_watermark('b', 'infinity');

-- query u (ways: snap, pre, post, sub, eowc)
SELECT window_start, k, count(*) c, sum(v) s FROM TUMBLE((SELECT * FROM a UNION ALL SELECT * FROM b), ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k;
-- expect 4 rows
--   2024-01-01 00:00:00|x|2|6
--   2024-01-01 00:00:00|y|2|7
--   2024-01-01 00:05:00|x|1|2
--   2024-01-01 00:06:00|y|1|6
SELECT * FROM pre_u;  -- expect the same

-- query selfu (ways: snap, pre, post, sub, eowc)
SELECT window_start, count(*) c FROM TUMBLE((SELECT * FROM a UNION ALL SELECT * FROM a), ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
-- expect 2 rows
--   2024-01-01 00:00:00|2
--   2024-01-01 00:05:00|2
SELECT * FROM pre_selfu;  -- expect the same

-- query tagged (ways: snap, pre, post, sub, eowc)
WITH u AS (SELECT 'a' src, ts, v FROM a UNION ALL SELECT 'b', ts, v FROM b) SELECT window_start, src, max(v) m FROM TUMBLE(u, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, src;
-- expect 4 rows
--   2024-01-01 00:00:00|a|1
--   2024-01-01 00:00:00|b|5
--   2024-01-01 00:05:00|a|2
--   2024-01-01 00:06:00|b|6
SELECT * FROM pre_tagged;  -- expect the same

DROP STREAM IF EXISTS b CASCADE;
DROP STREAM IF EXISTS a CASCADE;
