-- Tidemill query wc, word count: how often does each word of the addresses come in ten seconds, every five?
SELECT window_start, window_end, word, count(*) AS times
FROM HOP((SELECT date_time, unnest(string_to_array(url, '/')) AS word FROM bid),
         date_time, INTERVAL '5 seconds', INTERVAL '10 seconds')
GROUP BY window_start, window_end, word
EMIT ON WINDOW CLOSE;
