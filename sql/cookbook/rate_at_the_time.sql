-- What was each order worth, at the rate that was valid when it was made?
--
-- A table remembers for a day (or as long as WITH (history = …) says) what its rows were before they
-- were changed. FOR SYSTEM_TIME AS OF a time looks a row up as it was then; AS OF PROCTIME(), or a join
-- without these words, as it is when the order comes.

CREATE TABLE rates (currency TEXT PRIMARY KEY, rate NUMERIC(10, 4)) WITH (history = '7 days');
INSERT INTO rates VALUES ('EUR', 1.10), ('GBP', 1.30);

CREATE STREAM orders (id INT, currency TEXT, amount NUMERIC(10, 2), ts TIMESTAMPTZ, WATERMARK FOR ts);

CREATE MATERIALIZED VIEW worth AS
SELECT o.id, o.amount * r.rate AS dollars
FROM orders AS o
JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON r.currency = o.currency;

INSERT INTO orders VALUES (1, 'EUR', 100, now());

UPDATE rates SET rate = 1.20 WHERE currency = 'EUR';

-- One that was made before the change and comes after it.
INSERT INTO orders SELECT 2, currency, 50, ts FROM orders WHERE id = 1;

-- 110 and 55: both at 1.10.
SELECT * FROM worth ORDER BY id;
