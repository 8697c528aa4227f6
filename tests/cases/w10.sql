-- w10: window over a CTE whose filter removes all first rows; later rows must still be emitted

CREATE STREAM r (i INT, v TEXT, ts TIMESTAMP, WATERMARK FOR ts);
CREATE MATERIALIZED VIEW pre_c AS WITH cte AS (SELECT * FROM r WHERE v <> 't1') SELECT i, window_end, count(*) c FROM TUMBLE(cte, ts, INTERVAL '2 minutes') GROUP BY i, window_end;

INSERT INTO r VALUES (1,'t1','2024-01-01 00:00:00');
INSERT INTO r VALUES (1,'t0','2024-01-01 00:01:00');
INSERT INTO r VALUES (2,'t1','2024-01-01 00:10:00');
SELECT advance_watermark('r', 'infinity');

-- query c (ways: snap, pre, post, sub, eowc)
WITH cte AS (SELECT * FROM r WHERE v <> 't1') SELECT i, window_end, count(*) c FROM TUMBLE(cte, ts, INTERVAL '2 minutes') GROUP BY i, window_end;
-- expect 1 rows
--   1|2024-01-01 00:02:00|1
SELECT * FROM pre_c;  -- expect the same

DROP STREAM IF EXISTS r CASCADE;
