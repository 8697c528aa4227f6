-- w08: out-of-order row inside the allowed delay must be in the finally emitted window

CREATE STREAM s (ip TEXT, b INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute');
CREATE MATERIALIZED VIEW pre_f AS SELECT window_start, ip, sum(b) s FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, ip;

INSERT INTO s VALUES ('r11',10,'2024-10-25 11:50:00');
INSERT INTO s VALUES ('r12',10,'2024-10-25 11:50:30');
INSERT INTO s VALUES ('r13',10,'2024-10-25 11:51:01');
INSERT INTO s VALUES ('r14',10,'2024-10-25 11:50:45');
INSERT INTO s VALUES ('r15',10,'2024-10-25 11:52:00');
INSERT INTO s VALUES ('r16',10,'2024-10-25 11:52:30');
INSERT INTO s VALUES ('late',10,'2024-10-25 11:50:10');
INSERT INTO s VALUES ('r17',10,'2024-10-25 11:53:30');
SELECT advance_watermark('s', 'infinity');

-- query f (ways: pre, post, sub, eowc)
SELECT window_start, ip, sum(b) s FROM TUMBLE(s, ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, ip;
-- expect 7 rows
--   2024-10-25 11:50:00|r11|10
--   2024-10-25 11:50:00|r12|10
--   2024-10-25 11:50:00|r14|10
--   2024-10-25 11:51:00|r13|10
--   2024-10-25 11:52:00|r15|10
--   2024-10-25 11:52:00|r16|10
--   2024-10-25 11:53:00|r17|10
SELECT * FROM pre_f;  -- expect the same

-- query late (ways: )
SELECT count(*) FROM tidemill.late_rows WHERE stream = 's';
-- expect 1 rows
--   2

DROP STREAM IF EXISTS s CASCADE;
