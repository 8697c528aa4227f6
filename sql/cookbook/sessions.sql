-- What did each visitor do in one go? A session ends when nothing has come for half an hour.
CREATE STREAM visits (
    ts      TIMESTAMPTZ,
    visitor TEXT NOT NULL,
    page    TEXT NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 hour'
);

-- A row that comes out of order may join two sessions to one; the view then takes the two back.
CREATE MATERIALIZED VIEW sessions AS
SELECT visitor, window_start AS begun, window_end AS over_at, count(*) AS pages
FROM SESSION(visits PARTITION BY visitor, ts, INTERVAL '30 minutes')
GROUP BY visitor, window_start, window_end;

-- Here a session is there when it is over, and is not changed any more.
CREATE MATERIALIZED VIEW finished AS
SELECT visitor, window_start AS begun, count(*) AS pages
FROM SESSION(visits PARTITION BY visitor, ts, INTERVAL '30 minutes')
GROUP BY visitor, window_start, window_end
EMIT ON WINDOW CLOSE;

INSERT INTO visits VALUES
    ('2026-03-01 09:00:00+00', 'ann', '/'),
    ('2026-03-01 09:50:00+00', 'ann', '/cart'),
    ('2026-03-01 09:10:00+00', 'bob', '/');

-- It lies less than half an hour from both of Ann's rows.
INSERT INTO visits VALUES ('2026-03-01 09:25:00+00', 'ann', '/shoes');

-- Two rows: Ann's three pages from 9:00 to 10:20, Bob's one.
SELECT visitor, begun, over_at, pages FROM sessions ORDER BY visitor;

-- It is eleven, less the hour that rows may be late: Bob's session is over.
INSERT INTO visits VALUES ('2026-03-01 11:00:00+00', 'cid', '/');

-- One row: Bob's.
SELECT visitor, begun, pages FROM finished;
