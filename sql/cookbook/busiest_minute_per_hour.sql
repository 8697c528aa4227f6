-- How many requests did the busiest minute of each hour have, and how many minutes had any?
CREATE STREAM requests (
    ts   TIMESTAMPTZ,
    path TEXT NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
);

-- Windows over windows: the inner query counts by the minute, the outer one takes the minutes of an hour together.
-- `window_time` is the last moment of a minute, so each minute lies in its hour; the hour closes when its last minute has.
CREATE MATERIALIZED VIEW busiest_minute AS
WITH per_minute AS (
    SELECT window_time, count(*) AS n
    FROM TUMBLE(requests, ts, INTERVAL '1 minute')
    GROUP BY window_start, window_end, window_time
)
SELECT window_start AS hour, max(n) AS busiest, count(*) AS minutes, sum(n) AS requests
FROM TUMBLE(per_minute, window_time, INTERVAL '1 hour')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

INSERT INTO requests VALUES
    ('2026-03-01 09:10:00+00', '/'),
    ('2026-03-01 09:10:30+00', '/about'),
    ('2026-03-01 09:59:59+00', '/'),
    ('2026-03-01 10:00:01+00', '/');

SELECT advance_watermark('requests', 'infinity');

-- Two rows: from 9 to 10 two requests in the busiest of two minutes, three in all; from 10 to 11 one.
SELECT hour, busiest, minutes, requests FROM busiest_minute ORDER BY hour;
