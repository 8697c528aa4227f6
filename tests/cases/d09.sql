-- d09: temporal filter with now() in a view

CREATE STREAM s (k TEXT, ts TIMESTAMPTZ);
CREATE MATERIALIZED VIEW pre_t AS SELECT k FROM s WHERE ts > now() - INTERVAL '1 minute';

INSERT INTO s VALUES ('old', TIMESTAMPTZ '2020-01-01'), ('new', now() + INTERVAL '1 hour');

-- query t (ways: snap, pre)
SELECT k FROM s WHERE ts > now() - INTERVAL '1 minute';
-- expect 1 rows
--   new
SELECT * FROM pre_t;  -- expect the same

DROP STREAM IF EXISTS s CASCADE;
