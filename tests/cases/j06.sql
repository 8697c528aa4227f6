-- j06: joins of global aggregates; outer join below an aggregate below a filter

CREATE STREAM t (id INT, k TEXT, amount INT);
CREATE STREAM u (id INT);
CREATE MATERIALIZED VIEW pre_g AS SELECT coalesce(a.k,b.k) k, coalesce(a.amount,0) a1, coalesce(b.amount,0) a2 FROM (SELECT sum(amount) amount, max(k) k FROM t WHERE id=1) a FULL JOIN (SELECT sum(amount) amount, max(k) k FROM t WHERE id=2) b ON a.k=b.k;
CREATE MATERIALIZED VIEW pre_o AS SELECT * FROM (SELECT t.id, count(u.id) n FROM t t LEFT JOIN u u ON t.id=u.id GROUP BY 1) d WHERE d.n >= 0;
CREATE MATERIALIZED VIEW pre_e AS SELECT count(*) c, sum(amount) s, max(k) m FROM t WHERE id > 100;
CREATE MATERIALIZED VIEW pre_cj AS SELECT t.id, tot.s FROM t t CROSS JOIN (SELECT sum(amount) s FROM t) tot;
CREATE MATERIALIZED VIEW pre_sc AS SELECT id FROM t WHERE amount > (SELECT avg(amount) FROM t);

INSERT INTO t VALUES (1,'k',100);
INSERT INTO t VALUES (2,'k',200),(3,'m',1);
INSERT INTO u VALUES (3);

-- query g (ways: snap, pre, post, sub)
SELECT coalesce(a.k,b.k) k, coalesce(a.amount,0) a1, coalesce(b.amount,0) a2 FROM (SELECT sum(amount) amount, max(k) k FROM t WHERE id=1) a FULL JOIN (SELECT sum(amount) amount, max(k) k FROM t WHERE id=2) b ON a.k=b.k;
-- expect 1 rows
--   k|100|200
SELECT * FROM pre_g;  -- expect the same

-- query o (ways: snap, pre, post, sub)
SELECT * FROM (SELECT t.id, count(u.id) n FROM t t LEFT JOIN u u ON t.id=u.id GROUP BY 1) d WHERE d.n >= 0;
-- expect 3 rows
--   1|0
--   2|0
--   3|1
SELECT * FROM pre_o;  -- expect the same

-- query e (ways: snap, pre, post, sub)
SELECT count(*) c, sum(amount) s, max(k) m FROM t WHERE id > 100;
-- expect 1 rows
--   0|∅|∅
SELECT * FROM pre_e;  -- expect the same

-- query cj (ways: snap, pre, post, sub)
SELECT t.id, tot.s FROM t t CROSS JOIN (SELECT sum(amount) s FROM t) tot;
-- expect 3 rows
--   1|301
--   2|301
--   3|301
SELECT * FROM pre_cj;  -- expect the same

-- query sc (ways: snap, pre, post, sub)
SELECT id FROM t WHERE amount > (SELECT avg(amount) FROM t);
-- expect 1 rows
--   2
SELECT * FROM pre_sc;  -- expect the same

DROP STREAM IF EXISTS u CASCADE;
DROP STREAM IF EXISTS t CASCADE;
