-- Which quote was valid when each trade was made?
--
-- ASOF JOIN gives to each row the last row of another relation before it, among those that the
-- equations leave. ASOF LEFT JOIN keeps the trades before which there was none. A quote that comes late
-- corrects the trades behind it.

CREATE STREAM quotes (sym TEXT, ts TIMESTAMP, bid NUMERIC(10, 2), WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
CREATE STREAM trades (id INT, sym TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');

CREATE MATERIALIZED VIEW quoted AS
SELECT t.id, t.sym, q.bid, t.ts - q.ts AS age
FROM trades AS t
ASOF LEFT JOIN quotes AS q ON t.sym = q.sym AND t.ts >= q.ts;

INSERT INTO quotes VALUES ('ACME', '2026-01-01 12:00:00', 10.00), ('ACME', '2026-01-01 12:00:04', 10.50);
INSERT INTO trades VALUES (1, 'ACME', '2026-01-01 12:00:03'), (2, 'ACME', '2026-01-01 12:00:05'), (3, 'ZORG', '2026-01-01 12:00:05');

-- 10.00, 10.50 and none.
SELECT * FROM quoted ORDER BY id;

INSERT INTO quotes VALUES ('ACME', '2026-01-01 12:00:02', 10.20);

-- The first trade's quote is now that of 12:00:02.
SELECT * FROM quoted ORDER BY id;
