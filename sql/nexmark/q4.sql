-- Nexmark query 4, average price for a category: over the highest bid of each auction while it was open.
SELECT category, avg(final) AS average
FROM (
  SELECT a.id, a.category, max(b.price) AS final
  FROM auction AS a
  JOIN bid AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
  GROUP BY a.id, a.category
) AS highest
GROUP BY category
EMIT CHANGES;
