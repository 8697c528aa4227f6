-- Nexmark query 6, average selling price by seller: over the last ten auctions of each that have had a bid in time.
SELECT seller, id, avg(final) OVER (PARTITION BY seller ORDER BY closed, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS average
FROM (
  SELECT a.seller, a.id, a.expires AS closed, max(b.price) AS final
  FROM auction AS a
  JOIN bid AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
  GROUP BY a.seller, a.id, a.expires
) AS highest
EMIT CHANGES;
