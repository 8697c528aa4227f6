-- What happens to rows that come too late?
--
-- A window closes when the watermark passes its end. The watermark is the greatest time seen, less the delay, here
-- ten seconds. What belongs into closed windows only is late: it does not change the answer, but it is kept aside.
CREATE STREAM clicks (
    ts   TIMESTAMP,
    page TEXT,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
);

CREATE MATERIALIZED VIEW clicks_per_minute AS
SELECT window_start, window_end, count(*) AS clicks
FROM TUMBLE(clicks, ts, INTERVAL '1 minute')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

-- The same, kept open for a minute longer.
CREATE MATERIALIZED VIEW patient_clicks_per_minute WITH (allowed_lateness = '1 minute') AS
SELECT window_start, window_end, count(*) AS clicks
FROM TUMBLE(clicks, ts, INTERVAL '1 minute')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

-- Rows of one INSERT are never late against each other. So the watermark is at 12:01:10 after this one.
INSERT INTO clicks VALUES ('2026-03-01 12:00:30', 'a'), ('2026-03-01 12:01:20', 'b');

-- 12:00:50 is late for clicks_per_minute: its minute has closed. The patient view still takes it.
INSERT INTO clicks VALUES ('2026-03-01 12:00:50', 'c');

SELECT advance_watermark('clicks', 'infinity');

-- 12:00 has 1 click, 12:01 has 1.
SELECT window_start, clicks FROM clicks_per_minute ORDER BY window_start;

-- 12:00 has 2 clicks, 12:01 has 1.
SELECT window_start, clicks FROM patient_clicks_per_minute ORDER BY window_start;

-- Nothing vanishes silently: one late row.
SELECT count(*) AS late_rows FROM tidemill.late_rows;
