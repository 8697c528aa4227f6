-- w07: watermark delay in months or negative must be refused

-- query m
CREATE STREAM x (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1' MONTH);
-- expect error 22023/0A000

-- query y
CREATE STREAM x (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 year');
-- expect error 22023/0A000

-- query n
CREATE STREAM x (ts TIMESTAMP, WATERMARK FOR ts AS ts + INTERVAL '1 s');
-- expect error 22023/0A000

-- query n2
CREATE STREAM x (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '-1 s');
-- expect error 22023/0A000

-- query t
CREATE STREAM x (ts TEXT, WATERMARK FOR ts);
-- expect error 42804/22023/0A000

-- query u
CREATE STREAM x (ts TIMESTAMP, WATERMARK FOR tx);
-- expect error 42703

-- query i
CREATE STREAM x (ts BIGINT, WATERMARK FOR ts AS ts - 5);
-- expect error 42804/22023/0A000
