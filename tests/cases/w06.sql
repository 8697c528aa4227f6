-- w06: each row in size/slide windows; grouping by window_start only

CREATE STREAM s (id INT, uid INT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_h15 AS SELECT window_start, count(*) c FROM HOP(s, ts, INTERVAL '1 second', INTERVAL '5 seconds') GROUP BY window_start;
CREATE MATERIALIZED VIEW pre_uid AS SELECT uid, sum(v) s, window_start FROM HOP(s, ts, INTERVAL '15' MINUTE, INTERVAL '30' MINUTE) GROUP BY window_start, uid;

INSERT INTO s SELECT g, g%2, g*10, TIMESTAMP '2026-01-15 09:27:10' + g * INTERVAL '1 second' FROM generate_series(0,5) g;
SELECT advance_watermark('s', 'infinity');

-- query h15 (ways: snap, pre, post, sub)
SELECT window_start, count(*) c FROM HOP(s, ts, INTERVAL '1 second', INTERVAL '5 seconds') GROUP BY window_start;
-- expect 10 rows
--   2026-01-15 09:27:06|1
--   2026-01-15 09:27:07|2
--   2026-01-15 09:27:08|3
--   2026-01-15 09:27:09|4
--   2026-01-15 09:27:10|5
--   2026-01-15 09:27:11|5
--   2026-01-15 09:27:12|4
--   2026-01-15 09:27:13|3
--   2026-01-15 09:27:14|2
--   2026-01-15 09:27:15|1
SELECT * FROM pre_h15;  -- expect the same

-- query uid (ways: snap, pre, post, sub)
SELECT uid, sum(v) s, window_start FROM HOP(s, ts, INTERVAL '15' MINUTE, INTERVAL '30' MINUTE) GROUP BY window_start, uid;
-- expect 4 rows
--   0|60|2026-01-15 09:00:00
--   0|60|2026-01-15 09:15:00
--   1|90|2026-01-15 09:00:00
--   1|90|2026-01-15 09:15:00
SELECT * FROM pre_uid;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
