-- Nexmark query 1, currency conversion: what is each bid worth in euros?
SELECT auction, bidder, 0.908 * price AS price, date_time, extra
FROM bid
EMIT CHANGES;
