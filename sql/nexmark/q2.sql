-- Nexmark query 2, selection: what was bid in a few auctions?
SELECT auction, price
FROM bid
WHERE auction % 123 = 0
EMIT CHANGES;
