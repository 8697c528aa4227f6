-- w01: TUMBLE/HOP with times before 1970

CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
CREATE MATERIALIZED VIEW pre_t10 AS SELECT window_start, window_end, count(*) c, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_t7off AS SELECT window_start, count(*) c FROM TUMBLE(s, ts, INTERVAL '7 seconds', INTERVAL '3 seconds') GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW pre_h37 AS SELECT window_start, window_end, count(*) c, max(v) m FROM HOP(s, ts, INTERVAL '3 seconds', INTERVAL '7 seconds') GROUP BY window_start, window_end;

INSERT INTO s VALUES ('a',1,'1969-12-31 23:59:50'),('a',2,'1969-12-31 23:59:59.999'),('a',3,'1970-01-01 00:00:00'),('b',4,'1969-12-31 23:59:49.999'),('a',5,'1901-03-04 05:06:07.5'),('b',7,'1970-01-01 00:00:12');
SELECT advance_watermark('s', 'infinity');

-- query t10 (ways: snap, pre, post, sub, eowc)
SELECT window_start, window_end, count(*) c, sum(v) s FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end;
-- expect 5 rows
--   1901-03-04 05:06:00|1901-03-04 05:06:10|1|5
--   1969-12-31 23:59:40|1969-12-31 23:59:50|1|4
--   1969-12-31 23:59:50|1970-01-01 00:00:00|2|3
--   1970-01-01 00:00:00|1970-01-01 00:00:10|1|3
--   1970-01-01 00:00:10|1970-01-01 00:00:20|1|7
SELECT * FROM pre_t10;  -- expect the same

-- query t7off (ways: snap, pre, post, sub, eowc)
SELECT window_start, count(*) c FROM TUMBLE(s, ts, INTERVAL '7 seconds', INTERVAL '3 seconds') GROUP BY window_start, window_end;
-- expect 4 rows
--   1901-03-04 05:06:01|1
--   1969-12-31 23:59:49|2
--   1969-12-31 23:59:56|2
--   1970-01-01 00:00:10|1
SELECT * FROM pre_t7off;  -- expect the same

-- query h37 (ways: snap, pre, post, sub, eowc)
SELECT window_start, window_end, count(*) c, max(v) m FROM HOP(s, ts, INTERVAL '3 seconds', INTERVAL '7 seconds') GROUP BY window_start, window_end;
-- expect 10 rows
--   1901-03-04 05:06:03|1901-03-04 05:06:10|1|5
--   1901-03-04 05:06:06|1901-03-04 05:06:13|1|5
--   1969-12-31 23:59:45|1969-12-31 23:59:52|2|4
--   1969-12-31 23:59:48|1969-12-31 23:59:55|2|4
--   1969-12-31 23:59:54|1970-01-01 00:00:01|2|3
--   1969-12-31 23:59:57|1970-01-01 00:00:04|2|3
--   1970-01-01 00:00:00|1970-01-01 00:00:07|1|3
--   1970-01-01 00:00:06|1970-01-01 00:00:13|1|7
--   1970-01-01 00:00:09|1970-01-01 00:00:16|1|7
--   1970-01-01 00:00:12|1970-01-01 00:00:19|1|7
SELECT * FROM pre_h37;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
