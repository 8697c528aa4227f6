-- Tidemill in five minutes. Paste this into psql; every statement answers at once.
--
-- 1. A stream. The nexmark source plays an auction site: a thousand events a second arrive from now on, 46 of 50 are
--    bids. (Its clock begins on 2015-07-15 00:00:00 and runs at the pace of yours.)
CREATE SOURCE bid (
    auction   BIGINT,
    bidder    BIGINT,
    price     BIGINT,
    channel   TEXT,
    date_time TIMESTAMP(3),
    WATERMARK FOR date_time AS date_time - INTERVAL '1 second'
) WITH (connector = 'nexmark', "table" = 'bid', rate = '1000');

-- 2. A static table: who owns the channels that bids come through?
CREATE TABLE channel_owner (
    channel TEXT PRIMARY KEY,
    owner   TEXT NOT NULL
);
INSERT INTO channel_owner VALUES
    ('Google', 'Alphabet'), ('Facebook', 'Meta'), ('Baidu', 'Baidu'), ('Apple', 'Apple');

-- 3. A tumbling window, joined with the table: what does each owner bring in ten seconds? Each window's rows appear
--    once, when it is complete.
CREATE MATERIALIZED VIEW bids_per_owner AS
SELECT b.window_start, b.window_end, o.owner, count(*) AS bids, sum(b.price) AS total, max(b.price) AS highest
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds') AS b
JOIN channel_owner AS o ON b.channel = o.channel
GROUP BY b.window_start, b.window_end, o.owner
EMIT ON WINDOW CLOSE;

-- 4. A hopping window, joined with the table: the same over the last minute, every five seconds, channels without an
--    owner included. No EMIT: the view is kept up to date with each row, running windows too.
CREATE MATERIALIZED VIEW last_minute AS
SELECT b.window_start, b.window_end, coalesce(o.owner, 'others') AS owner, count(*) AS bids, avg(b.price) AS average
FROM HOP(bid, date_time, INTERVAL '5 seconds', INTERVAL '1 minute') AS b
LEFT JOIN channel_owner AS o ON b.channel = o.channel
GROUP BY b.window_start, b.window_end, coalesce(o.owner, 'others');

-- 5. Streams and views are tables to any query.
SELECT count(*) > 0 AS bids_are_coming FROM bid;
SELECT owner, bids FROM last_minute ORDER BY window_start DESC, owner LIMIT 5;

-- 6. Now follow a view, live: a row appears with diff 1 as each window closes. Ctrl-C ends it.
--    SUBSCRIBE TO bids_per_owner;
