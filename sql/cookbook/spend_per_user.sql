-- How much does each user spend per hour, and who spends more than 100 in one?
CREATE STREAM orders (
    ts      TIMESTAMPTZ,
    user_id BIGINT NOT NULL,
    amount  DECIMAL(10, 2) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 minute'
);

-- Group by the window and by whatever else you like. Without EMIT a view is kept up to date with every row: the
-- running hour is in it, too.
CREATE MATERIALIZED VIEW spend_per_user AS
SELECT window_start, window_end, user_id, sum(amount) AS spent, count(*) AS orders
FROM TUMBLE(orders, ts, INTERVAL '1 hour')
GROUP BY window_start, window_end, user_id;

INSERT INTO orders VALUES
    ('2026-03-01 09:10:00+00', 1, 60.00),
    ('2026-03-01 09:20:00+00', 2, 15.50),
    ('2026-03-01 09:50:00+00', 1, 55.25),
    ('2026-03-01 10:05:00+00', 1, 20.00);

SELECT advance_watermark('orders', 'infinity');

-- Three rows: user 1 with 115.25 and user 2 with 15.50 from 9 to 10, user 1 with 20.00 from 10 to 11.
SELECT window_start, user_id, spent, orders FROM spend_per_user ORDER BY window_start, user_id;

-- A view is a table to every other query. One row: user 1, 115.25.
SELECT user_id, spent FROM spend_per_user WHERE spent > 100 ORDER BY user_id;
