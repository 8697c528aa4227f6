-- j08: window join of two streams, bounds in both directions

CREATE STREAM a (id INT, x INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE STREAM b (id INT, y INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_wj AS SELECT l.id, l.x, r.y, l.window_start FROM TUMBLE(a, ts, INTERVAL '10 s') l JOIN TUMBLE(b, ts, INTERVAL '10 s') r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.id = r.id;
CREATE MATERIALIZED VIEW pre_wagg AS SELECT l.window_start, l.n, r.n m FROM (SELECT window_start, window_end, count(*) n FROM TUMBLE(a, ts, INTERVAL '10 s') GROUP BY window_start, window_end) l LEFT JOIN (SELECT window_start, window_end, count(*) n FROM TUMBLE(b, ts, INTERVAL '10 s') GROUP BY window_start, window_end) r USING (window_start, window_end);

INSERT INTO a VALUES (1,1,'2024-01-01 00:00:01'),(2,2,'2024-01-01 00:00:11');
INSERT INTO b VALUES (1,10,'2024-01-01 00:00:09'),(1,11,'2024-01-01 00:00:10'),(2,20,'2024-01-01 00:00:19.999');
INSERT INTO a VALUES (3,3,'2024-01-01 00:00:21');
INSERT INTO b VALUES (4,3,'2024-01-01 00:00:25');
SELECT advance_watermark('a', 'infinity');
SELECT advance_watermark('b', 'infinity');

-- query wj (ways: snap, pre, post, sub, eowc)
SELECT l.id, l.x, r.y, l.window_start FROM TUMBLE(a, ts, INTERVAL '10 s') l JOIN TUMBLE(b, ts, INTERVAL '10 s') r ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.id = r.id;
-- expect 2 rows
--   1|1|10|2024-01-01 00:00:00
--   2|2|20|2024-01-01 00:00:10
SELECT * FROM pre_wj;  -- expect the same

-- query wagg (ways: snap, pre, post, sub, eowc)
SELECT l.window_start, l.n, r.n m FROM (SELECT window_start, window_end, count(*) n FROM TUMBLE(a, ts, INTERVAL '10 s') GROUP BY window_start, window_end) l LEFT JOIN (SELECT window_start, window_end, count(*) n FROM TUMBLE(b, ts, INTERVAL '10 s') GROUP BY window_start, window_end) r USING (window_start, window_end);
-- expect 3 rows
--   2024-01-01 00:00:00|1|1
--   2024-01-01 00:00:10|1|2
--   2024-01-01 00:00:20|1|1
SELECT * FROM pre_wagg;  -- expect the same

DROP STREAM IF EXISTS b CASCADE;
DROP STREAM IF EXISTS a CASCADE;
