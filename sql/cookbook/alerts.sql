-- Which machines run hot? Alerts are a stream of their own, on which others stand, and go out as they come.
--
-- CREATE STREAM … AS writes what a query gives to a log, each row once: it is read, windowed and joined like
-- any other stream. A sink hands changes on: here to the terminal, elsewhere to files
-- (connector = 'file', path = 'alerts', format = 'parquet').

CREATE STREAM readings (machine INT, celsius INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');

CREATE STREAM alerts AS
SELECT window_time AS at, machine, max(celsius) AS celsius
FROM TUMBLE(readings, ts, INTERVAL '1 minute')
GROUP BY window_start, window_end, window_time, machine
HAVING max(celsius) > 90
EMIT ON WINDOW CLOSE;

CREATE SINK printed FROM alerts WITH (connector = 'print');

-- A machine that has been hot in three minutes of an hour.
CREATE MATERIALIZED VIEW to_be_seen AS
SELECT window_start, machine, count(*) AS minutes
FROM TUMBLE(alerts, at, INTERVAL '1 hour')
GROUP BY window_start, machine
HAVING count(*) >= 3;

INSERT INTO readings VALUES
    (1, 85, '2026-01-01 09:00:10'), (1, 95, '2026-01-01 09:00:50'), (2, 91, '2026-01-01 09:01:20'),
    (1, 97, '2026-01-01 09:02:00'), (2, 70, '2026-01-01 09:02:30'), (1, 93, '2026-01-01 09:05:00'),
    (1, 60, '2026-01-01 09:07:00');

SELECT * FROM alerts ORDER BY at;

-- Machine 1.
SELECT * FROM to_be_seen;

SELECT name, connector, rows_out, waiting_bytes FROM tidemill.sinks;
