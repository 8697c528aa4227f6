-- v01: timestamptz: date_trunc over DST, AT TIME ZONE, casts

-- query q0 (ways: snap)
SELECT extract(epoch from date_trunc('hour', '2023-11-05 01:40:00-07:00'::timestamptz, 'US/Pacific')), extract(epoch from date_trunc('hour', '2023-11-05 01:40:00-08:00'::timestamptz, 'US/Pacific'));
-- expect 1 rows
--   1699171200|1699174800

-- query q1 (ways: snap)
SELECT date_trunc('week', '2023-10-29T00:00:00Z'::timestamptz, 'Europe/Berlin');
-- expect 1 rows
--   2023-10-22 22:00:00+00

-- query q2 (ways: snap)
SELECT TIMESTAMP '2024-07-01 12:00:00' AT TIME ZONE 'Europe/Brussels';
-- expect 1 rows
--   2024-07-01 10:00:00+00

-- query q3 (ways: snap)
SELECT '2024-07-01 12:00:00Z'::timestamptz AT TIME ZONE 'Europe/Brussels';
-- expect 1 rows
--   2024-07-01 14:00:00

-- query q4 (ways: snap)
SELECT ('2024-07-01T18:00:00Z'::timestamptz AT TIME ZONE 'America/Denver')::timestamp;
-- expect 1 rows
--   2024-07-01 12:00:00

-- query q5 (ways: snap)
SELECT TIMESTAMP '2024-07-01 12:00:00' AT TIME ZONE '+05:30';
-- expect 1 rows
--   2024-07-01 17:30:00+00

-- query q6 (ways: snap)
SELECT TIMESTAMP '2024-07-01 12:00:00' AT TIME ZONE INTERVAL '-03:00';
-- expect 1 rows
--   2024-07-01 15:00:00+00

-- query q7 (ways: snap)
SELECT '2024-03-31 02:30:00'::timestamp AT TIME ZONE 'Europe/Berlin', '2024-10-27 02:30:00'::timestamp AT TIME ZONE 'Europe/Berlin';
-- expect 1 rows
--   2024-03-31 01:30:00+00|2024-10-27 01:30:00+00

-- query q8 (ways: snap)
SELECT timestamp '2000-01-01T00:00:00+08:00';
-- expect 1 rows
--   2000-01-01 00:00:00

-- query q9 (ways: snap)
SELECT date '2024-02-30'::text;
-- expect error 22008

-- query q10 (ways: snap)
SELECT '2024-01-31'::date + interval '1 month', '2024-03-31'::timestamp - interval '1 month';
-- expect 1 rows
--   2024-02-29 00:00:00|2024-02-29 00:00:00

-- query q11 (ways: snap)
SELECT timestamptz '2024-03-30 12:00:00+00' + interval '1 day', timestamptz '2024-03-30 12:00:00+00' + interval '24 hours';
-- expect 1 rows
--   2024-03-31 12:00:00+00|2024-03-31 12:00:00+00

-- query q12 (ways: snap)
SELECT age(timestamp '2024-03-01', timestamp '2023-01-31');
-- expect 1 rows
--   1 year 1 mon 1 day

-- query q13 (ways: snap)
SELECT extract(week from date '2021-01-03'), extract(isoyear from date '2021-01-03'), extract(dow from date '2021-01-03'), extract(isodow from date '2021-01-03');
-- expect 1 rows
--   53|2020|0|7

-- query q14 (ways: snap)
SELECT date_trunc('decade', timestamp '1999-05-05'), date_trunc('century', timestamp '1999-05-05'), date_trunc('quarter', date '2024-05-05');
-- expect 1 rows
--   1990-01-01 00:00:00|1901-01-01 00:00:00|2024-04-01 00:00:00+00

-- query q15 (ways: snap)
SELECT to_char(timestamp '2023-06-01 11:22:33', 'DY, Mon DD YYYY HH24:MI:SS'), to_char(1234.5, 'FM9,999.00');
-- expect 1 rows
--   THU, Jun 01 2023 11:22:33|1,234.50

-- query q16 (ways: snap)
SELECT 'Jun 01 2023 11:22:33 +0000'::timestamptz;
-- expect 1 rows
--   2023-06-01 11:22:33+00

-- query q17 (ways: snap)
SELECT 'Wed Jun 01 2023'::date;
-- expect 1 rows
--   2023-06-01

-- query q18 (ways: snap)
SELECT interval '12:34' minute to second, interval '1 2:03:04' day to second, interval '123' second, interval '123' month;
-- expect 1 rows
--   00:12:34|1 day 02:03:04|00:02:03|10 years 3 mons

-- query q19 (ways: snap)
SELECT interval '1 month 10 days', interval '1 year 2 mons -3 days 04:05:06.7';
-- expect 1 rows
--   1 mon 10 days|1 year 2 mons -3 days +04:05:06.7

-- query q20 (ways: snap)
SELECT interval '1.5 days', interval 'P1DT2H', interval '-1:30', interval '2 weeks';
-- expect 1 rows
--   1 day 12:00:00|1 day 02:00:00|-01:30:00|14 days

-- query q21 (ways: snap)
SELECT justify_hours(interval '49 hours'), extract(epoch from interval '1 month');
-- expect 1 rows
--   2 days 01:00:00|2592000

-- query q22 (ways: snap)
SELECT '24:00:00'::time, '2024-01-01 24:00:00'::timestamp, '2024-06-30 23:59:60'::timestamp;
-- expect 1 rows
--   24:00:00|2024-01-02 00:00:00|2024-07-01 00:00:00

-- query q23 (ways: snap)
SELECT to_timestamp(1700000000.123456), to_timestamp('2024-01-01 01:30:02','YYYY-MM-DD HH24:MI:SS');
-- expect 1 rows
--   2023-11-14 22:13:20.123456+00|2024-01-01 01:30:02+00

-- query q24 (ways: snap)
SELECT '2024-01-01T00:00:00.123456789Z'::timestamptz, '20240101T000000Z'::timestamptz, '2024-1-2 3:4:5'::timestamp;
-- expect 1 rows
--   2024-01-01 00:00:00.123457+00|2024-01-01 00:00:00+00|2024-01-02 03:04:05

-- query q25 (ways: snap)
SELECT 'infinity'::timestamp > now()::timestamp, '-infinity'::date < '1970-01-01'::date;
-- expect 1 rows
--   t|t

-- query q26 (ways: snap)
SELECT '00:00:00.36' >= '0.35';
-- expect 1 rows
--   t

-- query q27 (ways: snap)
SELECT date '2024-01-10' - date '2024-01-01', timestamp '2024-01-02' - timestamp '2024-01-01 12:00';
-- expect 1 rows
--   9|12:00:00

-- query q28 (ways: snap)
SELECT make_timestamp(2024,2,29,1,2,3.5), make_date(2024,2,29), make_interval(days => 3);
-- expect 1 rows
--   2024-02-29 01:02:03.5|2024-02-29|3 days

-- query q29 (ways: snap)
SELECT (timestamp '2024-01-01 00:00', timestamp '2024-01-02') OVERLAPS (timestamp '2024-01-01 12:00', interval '1 day');
-- expect 1 rows
--   t

-- query q30 (ways: snap)
SELECT date_bin('15 minutes', timestamp '1969-12-31 23:50', timestamp '1970-01-01');
-- expect 1 rows
--   1969-12-31 23:45:00

-- query q31 (ways: snap)
SELECT now() - now() = interval '0', current_timestamp(0) IS NOT NULL, localtimestamp IS NOT NULL;
-- expect 1 rows
--   t|t|t

-- query q32 (ways: snap)
SELECT 7/2, -7/2, 7 % (-3), (-7) % 3, 7.0/2, 2^10, mod(-7,3), 1e0/3, round(2.5), round(-2.5), round(2.5::float8), trunc(-2.7);
-- expect 1 rows
--   3|-3|1|-1|3.5|1024|-1|0.333333333333|3|-3|2|-2

-- query q33 (ways: snap)
SELECT 0.1+0.2, 0.1::float8+0.2::float8, 1.10::numeric, 1e20::numeric, 1/3.0;
-- expect 1 rows
--   0.3|0.3|1.1|100000000000000000000|0.333333333333

-- query q34 (ways: snap)
SELECT 'a' || NULL, concat('a', NULL, 1), coalesce(NULL, 'x'), nullif('','');
-- expect 1 rows
--   ∅|a1|x|∅

-- query q35 (ways: snap)
SELECT substring('hello' from 2 for 3), substring('foobar' from 'o(.)b'), position('l' in 'hello'), trim(both 'x' from 'xxaxx'), left('hello',-2), right('hello',2), lpad('5',3,'0');
-- expect 1 rows
--   ell|o|3|a|hel|lo|5

-- query q36 (ways: snap)
SELECT split_part('a,b,c', ',', -1), regexp_replace('abcabc','b','X','g'), regexp_replace('abcabc','b','X'), 'abc' ~ '^A', 'abc' ~* '^A', 'abc' SIMILAR TO '%(b|d)%';
-- expect 1 rows
--   c|aXcaXc|aXcabc|f|t|t

-- query q37 (ways: snap)
SELECT 'Straße' ILIKE 'STRASSE', upper('straße'), length('🦀é'), octet_length('🦀'), reverse('ab🦀'), initcap('hello wORLD');
-- expect 1 rows
--   f|STRAßE|2|4|🦀ba|Hello World

-- query q38 (ways: snap)
SELECT greatest(1,NULL,3), least(NULL,2), 1 IS DISTINCT FROM NULL, NULL::int IS NOT DISTINCT FROM NULL;
-- expect 1 rows
--   3|2|t|t

-- query q39 (ways: snap)
SELECT true::int, 't'::boolean, 'off'::boolean, 1::boolean, '  12 '::int, '1e3'::float8, '0x1F'::text, ' 3.50 '::numeric;
-- expect 1 rows
--   1|t|f|t|12|1000|0x1F|3.5

-- query q40 (ways: snap)
SELECT 1 = ANY(ARRAY[1,2,NULL]), 3 = ANY(ARRAY[1,2,NULL]), 3 <> ALL(ARRAY[1,2]), ARRAY[1,2] || 3, ARRAY[1,2] @> ARRAY[2], array_length(ARRAY[[1,2],[3,4]],1), (ARRAY[1,2,3])[2:3], (ARRAY[1,2])[5], cardinality(ARRAY[1,2]);
-- expect 1 rows
--   t|∅|t|{1,2,3}|t|2|{2,3}|∅|2

-- query q41 (ways: snap)
SELECT '{"a":{"b":[1,2,{"c":"x"}]}}'::jsonb #>> '{a,b,2,c}', '{"a":1}'::jsonb -> 'a', '{"a":"1"}'::jsonb ->> 'a', '[1,2,3]'::jsonb -> -1, '{"a":null}'::jsonb ->> 'a', '{"a":1,"a":2}'::jsonb, '{"a":1}'::jsonb @> '{}'::jsonb, '{"a":1}'::jsonb ? 'a', jsonb_typeof('1.0'::jsonb), '1.10'::jsonb;
-- expect 1 rows
--   x|1|1|3|∅|{"a": 2}|t|t|number|1.1

-- query q42 (ways: snap)
SELECT jsonb_array_length('[1,2]'::jsonb), jsonb_build_object('a',1,'b',NULL), to_jsonb(ARRAY[1,2]), row_to_json(row(1,'x')), json_build_array(1,'a',NULL);
-- expect 1 rows
--   2|{"a": 1, "b": null}|[1, 2]|{"f1":1,"f2":"x"}|[1, "a", null]

-- query q43 (ways: snap)
SELECT * FROM jsonb_array_elements('[1,"x",null]'::jsonb);
-- expect 3 rows
--   "x"
--   1
--   null

-- query q44 (ways: snap)
SELECT key, value FROM jsonb_each_text('{"a":1,"b":"c"}'::jsonb);
-- expect 2 rows
--   a|1
--   b|c

-- query q45 (ways: snap)
SELECT * FROM generate_series(timestamp '2024-01-01', timestamp '2024-01-02', interval '6 hours');
-- expect 5 rows
--   2024-01-01 00:00:00
--   2024-01-01 06:00:00
--   2024-01-01 12:00:00
--   2024-01-01 18:00:00
--   2024-01-02 00:00:00

-- query q46 (ways: snap)
SELECT * FROM generate_series(5,1,-2);
-- expect 3 rows
--   1
--   3
--   5

-- query q47 (ways: snap)
SELECT * FROM (VALUES (1,'a'),(2,NULL)) v(x,y) ORDER BY y DESC, x;
-- expect 2 rows
--   1|a
--   2|∅

-- query q48 (ways: snap)
SELECT x FROM (VALUES ('b'),('A'),('a'),('_'),('B')) v(x) ORDER BY x LIMIT 2;
-- expect 2 rows
--   A
--   B

-- query q49 (ways: snap)
SELECT CASE WHEN x <> 0 THEN 10/x ELSE 0 END FROM (VALUES (0),(5)) v(x);
-- expect 2 rows
--   0
--   2

-- query q50 (ways: snap)
SELECT count(*) FROM (SELECT 1 WHERE false) z;
-- expect 1 rows
--   0

-- query q51 (ways: snap)
SELECT 1 UNION SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3;
-- expect 2 rows
--   1
--   2

-- query q52 (ways: snap)
SELECT * FROM (VALUES (1),(1),(2)) v(x) INTERSECT ALL SELECT * FROM (VALUES (1),(1)) w(y);
-- expect 2 rows
--   1
--   1

-- query q53 (ways: snap)
SELECT * FROM (VALUES (1),(1),(2)) v(x) EXCEPT ALL SELECT 1;
-- expect 2 rows
--   1
--   2

-- query q54 (ways: snap)
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 5) SELECT sum(n) FROM t;
-- expect 1 rows
--   15

-- query q55 (ways: snap)
SELECT md5('a'), encode('abc'::bytea,'base64'), decode('6162','hex'), '\x6162'::bytea, encode(sha256('a'::bytea),'hex');
-- expect 1 rows
--   0cc175b9c0f1b6a831c399e269772661|YWJj|\x6162|\x6162|ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb

-- query q56 (ways: snap)
SELECT width_bucket(5.35, 0.024, 10.06, 5), gcd(12,18), factorial(5), ceil(-1.5), sign(-3), log(100), ln(1), sqrt(2), pi(), degrees(pi());
-- expect 1 rows
--   3|6|120|-1|-1|2|0|1.41421356237|3.14159265359|180

-- query q57 (ways: snap)
SELECT format('%s-%I-%L', 'a', 'B c', 'd''e'), quote_ident('A b'), quote_literal('x''y'), chr(233), ascii('é'), repeat('ab',2), translate('12345','143','ax'), starts_with('abc','ab'), overlay('abcdef' placing 'ZZ' from 2 for 3);
-- expect 1 rows
--   a-"B c"-'d''e'|"A b"|'x''y'|é|233|abab|a2x5|t|aZZef

-- query q58 (ways: snap)
SELECT 'x'::char(3) || '|', 'abcdef'::varchar(3), length('ab  '::char(5));
-- expect 1 rows
--   x||abc|2
