-- w12: aggregate over an aggregate of windows; window over window_time; max per window joined back

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
CREATE MATERIALIZED VIEW pre_nest AS SELECT window_start, sum(c) tot, max(c) mx FROM (SELECT window_start, window_end, k, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k) x GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_stack AS SELECT window_start, sum(c) tot FROM TUMBLE((SELECT window_time, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, window_time), window_time, INTERVAL '1 minute') GROUP BY window_start, window_end;

INSERT INTO s VALUES ('a',1,'2024-01-01 00:00:01'),('a',2,'2024-01-01 00:00:02'),('b',3,'2024-01-01 00:00:03');
INSERT INTO s VALUES ('a',4,'2024-01-01 00:00:11'),('c',5,'2024-01-01 00:00:59'),('b',1,'2024-01-01 00:01:01');
SELECT advance_watermark('s', 'infinity');

-- query nest (ways: snap, pre, post, sub, eowc)
SELECT window_start, sum(c) tot, max(c) mx FROM (SELECT window_start, window_end, k, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, k) x GROUP BY window_start, window_end;
-- expect 4 rows
--   2024-01-01 00:00:00|3|2
--   2024-01-01 00:00:10|1|1
--   2024-01-01 00:00:50|1|1
--   2024-01-01 00:01:00|1|1
SELECT * FROM pre_nest;  -- expect the same

-- query stack (ways: snap, pre, post, sub, eowc)
SELECT window_start, sum(c) tot FROM TUMBLE((SELECT window_time, count(*) c FROM TUMBLE(s, ts, INTERVAL '10 s') GROUP BY window_start, window_end, window_time), window_time, INTERVAL '1 minute') GROUP BY window_start, window_end;
-- expect 2 rows
--   2024-01-01 00:00:00|5
--   2024-01-01 00:01:00|1
SELECT * FROM pre_stack;  -- expect the same
