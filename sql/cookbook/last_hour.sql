-- The last hour: rows leave when their time has come, and what is counted of them goes with them.
--
-- now() is the time of the epoch: there is one when a row comes, and one when a row has to go.

CREATE STREAM logins (who TEXT, city TEXT, at TIMESTAMPTZ, WATERMARK FOR at);

CREATE MATERIALIZED VIEW last_hour AS
SELECT city, count(*) AS logins, count(DISTINCT who) AS people
FROM logins
WHERE at > now() - INTERVAL '1 hour'
GROUP BY city;

-- Who has logged in from two cities within ten minutes.
CREATE MATERIALIZED VIEW suspicious AS
SELECT who, count(DISTINCT city) AS cities
FROM logins
WHERE at > now() - INTERVAL '10 minutes'
GROUP BY who
HAVING count(DISTINCT city) > 1;

INSERT INTO logins VALUES
  ('anna', 'Rome', now() - INTERVAL '2 hours'),
  ('anna', 'Rome', now() - INTERVAL '5 minutes'),
  ('anna', 'Oslo', now() - INTERVAL '1 minute'),
  ('bert', 'Oslo', now() - INTERVAL '30 minutes');

SELECT * FROM last_hour ORDER BY city;

SELECT * FROM suspicious;
