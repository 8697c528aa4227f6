-- Which words are said most in the last ten seconds, looked at every five?
CREATE STREAM lines (
    ts   TIMESTAMP,
    line TEXT,
    WATERMARK FOR ts
);

-- unnest makes one row of each word (a flatMap). HOP(input, time, slide, size) puts each row into every window it
-- falls into, here two; it is still added up only once. A subquery may stand where a stream's name does.
CREATE MATERIALIZED VIEW word_count AS
SELECT window_start, window_end, word, count(*) AS times
FROM HOP((SELECT ts, unnest(string_to_array(lower(line), ' ')) AS word FROM lines),
         ts, INTERVAL '5 seconds', INTERVAL '10 seconds')
GROUP BY window_start, window_end, word
EMIT ON WINDOW CLOSE;

INSERT INTO lines VALUES
    ('2026-03-01 00:00:01', 'to be or not to be'),
    ('2026-03-01 00:00:07', 'be quick'),
    ('2026-03-01 00:00:12', 'or not');

SELECT advance_watermark('lines', 'infinity');

-- The window from 00:00:00 to 00:00:10 has "be" three times, "to" twice, "not", "or" and "quick" once.
SELECT window_end, word, times FROM word_count
WHERE window_start = TIMESTAMP '2026-03-01 00:00:00'
ORDER BY times DESC, word;

-- A closed window is a table: the most frequent word of each window, the first in the alphabet of equals.
SELECT window_start, word, times
FROM (SELECT *, row_number() OVER (PARTITION BY window_start ORDER BY times DESC, word) AS place FROM word_count) AS ranked
WHERE place = 1
ORDER BY window_start;
