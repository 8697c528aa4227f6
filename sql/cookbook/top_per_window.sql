-- Which two products sold most in each hour?
CREATE STREAM sales (
    ts      TIMESTAMPTZ,
    product TEXT NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
);

-- The ranks are within windows, so each hour is ranked once, when it has closed, and then forgotten.
CREATE MATERIALIZED VIEW best_sellers AS
SELECT window_start AS hour, product, sold, place
FROM (
    SELECT window_start, window_end, product, count(*) AS sold,
        row_number() OVER (PARTITION BY window_start, window_end ORDER BY count(*) DESC, product) AS place
    FROM TUMBLE(sales, ts, INTERVAL '1 hour')
    GROUP BY window_start, window_end, product
) AS ranked
WHERE place <= 2
EMIT ON WINDOW CLOSE;

INSERT INTO sales VALUES
    ('2026-03-01 09:00:00+00', 'tea'),
    ('2026-03-01 09:10:00+00', 'tea'),
    ('2026-03-01 09:20:00+00', 'cake'),
    ('2026-03-01 09:30:00+00', 'jam'),
    ('2026-03-01 10:00:30+00', 'jam');

SELECT advance_watermark('sales', 'infinity');

-- Three rows: tea and cake from 9 to 10, jam from 10 to 11.
SELECT hour, place, product, sold FROM best_sellers ORDER BY hour, place;
