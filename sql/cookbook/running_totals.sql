-- What is the balance of each account now?
--
-- No window: the state of a key lives as long as the view. This is what Spark calls updateStateByKey.
CREATE STREAM bookings (
    account TEXT NOT NULL,
    amount  BIGINT NOT NULL
);

CREATE MATERIALIZED VIEW balances AS
SELECT account, sum(amount) AS balance, count(*) AS bookings
FROM bookings
GROUP BY account;

INSERT INTO bookings VALUES ('alice', 100), ('bob', 50);
INSERT INTO bookings VALUES ('alice', -30), ('carol', 10);

-- A session reads what it has written: alice 70 with 2 bookings, bob 50 with 1, carol 10 with 1.
SELECT account, balance, bookings FROM balances ORDER BY account;

-- To follow every change, as it happens, with +1 for a row that appears and -1 for one that goes:
--   SUBSCRIBE TO balances;
INSERT INTO bookings VALUES ('bob', -50);

-- bob has 0 now. An account does not go away because its balance is nothing.
SELECT account, balance, bookings FROM balances WHERE account = 'bob';
