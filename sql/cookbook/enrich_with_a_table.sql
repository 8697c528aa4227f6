-- What do the sensors measure in each room, when the readings only say which sensor they come from?
--
-- A static table: rows can be changed and deleted, and each batch of readings sees it as it is then.
CREATE TABLE sensors (
    sensor_id INT PRIMARY KEY,
    room      TEXT NOT NULL
);
INSERT INTO sensors VALUES (1, 'kitchen'), (2, 'kitchen'), (3, 'cellar');

CREATE STREAM readings (
    ts          TIMESTAMP,
    sensor_id   INT,
    temperature DOUBLE PRECISION,
    WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
);

-- LEFT JOIN keeps readings of sensors that the table does not know; JOIN would drop them.
CREATE MATERIALIZED VIEW room_temperature AS
SELECT r.window_start, r.window_end, coalesce(s.room, 'unknown') AS room,
       min(r.temperature) AS lowest, max(r.temperature) AS highest
FROM TUMBLE(readings, ts, INTERVAL '5 minutes') AS r
LEFT JOIN sensors AS s ON r.sensor_id = s.sensor_id
GROUP BY r.window_start, r.window_end, coalesce(s.room, 'unknown')
EMIT ON WINDOW CLOSE;

INSERT INTO readings VALUES
    ('2026-03-01 08:00:00', 1, 21.5),
    ('2026-03-01 08:01:00', 2, 22.5),
    ('2026-03-01 08:01:30', 3, 11.0),
    ('2026-03-01 08:02:00', 9, 19.0);

SELECT advance_watermark('readings', 'infinity');

-- Three rows for 08:00: cellar 11 to 11, kitchen 21.5 to 22.5, unknown 19 to 19.
SELECT window_start, room, lowest, highest FROM room_temperature ORDER BY window_start, room;
