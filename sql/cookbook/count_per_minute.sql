-- How many requests are there per minute, and how many of them failed?
--
-- A stream is a table that only grows. WATERMARK says which column is the time of the event, and that rows may
-- come up to five seconds out of order.
CREATE STREAM requests (
    ts     TIMESTAMP,
    path   TEXT,
    status INT,
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
);

-- TUMBLE puts each row into the one minute it belongs to and adds window_start and window_end to its columns. The
-- view is kept up to date while rows arrive. EMIT ON WINDOW CLOSE: a minute appears once, when it is complete.
CREATE MATERIALIZED VIEW requests_per_minute AS
SELECT window_start, window_end, count(*) AS requests, count(*) FILTER (WHERE status >= 500) AS failed
FROM TUMBLE(requests, ts, INTERVAL '1 minute')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

INSERT INTO requests VALUES
    ('2026-03-01 12:00:05', '/',      200),
    ('2026-03-01 12:00:40', '/login', 500),
    ('2026-03-01 12:00:38', '/',      200),   -- out of order, but not late
    ('2026-03-01 12:01:10', '/cart',  200),
    ('2026-03-01 12:03:00', '/',      503);

-- The last minute is still open: a row for it may come. When you know that none will, say so.
SELECT advance_watermark('requests', 'infinity');

-- 12:00 has 3 requests and 1 failed, 12:01 has 1 and 0, 12:03 has 1 and 1. A minute without rows has no window.
SELECT window_start, requests, failed FROM requests_per_minute ORDER BY window_start;
