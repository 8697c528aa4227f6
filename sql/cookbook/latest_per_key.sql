-- What is the latest state of each device? (Deduplication: keep the last.)
CREATE STREAM readings (
    ts     TIMESTAMPTZ NOT NULL,
    device TEXT NOT NULL,
    state  TEXT NOT NULL
);

CREATE MATERIALIZED VIEW latest AS
SELECT DISTINCT ON (device) device, state, ts
FROM readings
ORDER BY device, ts DESC;

INSERT INTO readings VALUES
    ('2026-03-01 09:00:00+00', 'door', 'open'),
    ('2026-03-01 09:05:00+00', 'lamp', 'on'),
    ('2026-03-01 09:10:00+00', 'door', 'closed');

-- An older one that comes late changes nothing.
INSERT INTO readings VALUES ('2026-03-01 09:02:00+00', 'door', 'ajar');

-- Two rows: the door is closed, the lamp is on.
SELECT device, state FROM latest ORDER BY device;
