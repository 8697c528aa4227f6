-- Nexmark query 2 as one batch.
SELECT auction, price
FROM bid
WHERE auction % 123 = 0
