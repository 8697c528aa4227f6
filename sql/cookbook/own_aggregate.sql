-- An aggregate that there is none of: the product of the growth factors of each minute, over the last
-- five minutes, minute by minute.
--
-- The function that adds a factor also combines the products of two parts, so a window is put together
-- from its minutes; the inverse takes the minute out again that has left, so a window of an hour costs
-- no more than one of five minutes.

CREATE FUNCTION times(a DOUBLE PRECISION, b DOUBLE PRECISION) RETURNS DOUBLE PRECISION STRICT
    RETURN a * b;

CREATE FUNCTION divided(a DOUBLE PRECISION, b DOUBLE PRECISION) RETURNS DOUBLE PRECISION STRICT
    RETURN a / b;

CREATE AGGREGATE product(DOUBLE PRECISION)
    (SFUNC = times, STYPE = DOUBLE PRECISION, COMBINEFUNC = times, MINVFUNC = divided);

CREATE STREAM growth (
    factor DOUBLE PRECISION,
    at TIMESTAMP,
    WATERMARK FOR at
);

CREATE MATERIALIZED VIEW grown AS
SELECT window_end, product(factor) AS times
FROM HOP(growth, at, INTERVAL '1 minute', INTERVAL '5 minutes')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;

INSERT INTO growth VALUES
    (1.5, '2024-01-01 10:00:10'),
    (2.0, '2024-01-01 10:01:10'),
    (0.5, '2024-01-01 10:03:10'),
    (4.0, '2024-01-01 10:06:10');

SELECT advance_watermark('growth', 'infinity');

-- 1.5, 3, 3, 1.5, 1.5, 1, 2, and so on.
SELECT window_end, times FROM grown ORDER BY window_end;
