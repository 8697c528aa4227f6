-- What was each order worth, when the rates are a stream of their own?
--
-- A view of the last row of each key is a table that changes with its stream. FOR SYSTEM_TIME AS OF a time
-- asks what it was then, by the event times of the rates: a rate that comes late corrects the orders that
-- were made after it.

CREATE STREAM quotes (currency TEXT, rate NUMERIC(10, 4), ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 hour');

CREATE VIEW rates AS
SELECT DISTINCT ON (currency) currency, rate
FROM quotes
ORDER BY currency, ts DESC;

CREATE STREAM orders (id INT, currency TEXT, amount NUMERIC(10, 2), ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 hour');

CREATE MATERIALIZED VIEW worth AS
SELECT o.id, o.amount * r.rate AS dollars
FROM orders AS o
JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON r.currency = o.currency;

INSERT INTO quotes VALUES ('EUR', 1.10, '2026-01-01 09:00'), ('EUR', 1.20, '2026-01-01 10:00');
INSERT INTO orders VALUES (1, 'EUR', 100, '2026-01-01 09:30'), (2, 'EUR', 100, '2026-01-01 09:50'), (3, 'EUR', 100, '2026-01-01 10:00');

-- 110, 110 and 120.
SELECT * FROM worth ORDER BY id;

-- It came late, and was valid when the second order was made.
INSERT INTO quotes VALUES ('EUR', 1.15, '2026-01-01 09:45');

-- 110, 115 and 120.
SELECT * FROM worth ORDER BY id;
