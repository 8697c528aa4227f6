-- Which orders were paid within the hour, which were not, and which were not paid at all so far?
CREATE STREAM orders (ts TIMESTAMPTZ, id BIGINT NOT NULL, customer TEXT NOT NULL,
                      WATERMARK FOR ts AS ts - INTERVAL '1 minute');
CREATE STREAM payments (ts TIMESTAMPTZ, order_id BIGINT NOT NULL, amount NUMERIC(10, 2) NOT NULL,
                        WATERMARK FOR ts AS ts - INTERVAL '1 minute');

-- An inner join takes nothing back: each order is there as soon as it is paid. The condition says how
-- long an order can be paid, so it is kept for an hour and no longer.
CREATE MATERIALIZED VIEW paid AS
SELECT o.id, o.customer, p.amount
FROM orders AS o
JOIN payments AS p ON p.order_id = o.id AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1 hour';

-- An order that has not been paid is certain when the watermark of payments has passed its hour.
CREATE MATERIALIZED VIEW missed AS
SELECT o.id, o.customer
FROM orders AS o
WHERE NOT EXISTS (
    SELECT 1 FROM payments AS p
    WHERE p.order_id = o.id AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1 hour'
)
EMIT ON WINDOW CLOSE;

-- Here an order appears at once and goes when its payment comes.
CREATE MATERIALIZED VIEW unpaid AS
SELECT o.id, o.customer
FROM orders AS o
WHERE NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.id);

INSERT INTO orders VALUES
    ('2026-03-01 09:00:00+00', 1, 'ann'),
    ('2026-03-01 09:05:00+00', 2, 'bob'),
    ('2026-03-01 09:10:00+00', 3, 'cid');
INSERT INTO payments VALUES
    ('2026-03-01 09:30:00+00', 1, 12.50),
    ('2026-03-01 10:08:00+00', 2, 8.00);

-- One row: Ann's; Bob's payment came too late.
SELECT id, customer, amount FROM paid ORDER BY id;

-- One row: Bob's. Cid has two more minutes.
SELECT id, customer FROM missed ORDER BY id;

-- One row: Cid's.
SELECT id, customer FROM unpaid ORDER BY id;
