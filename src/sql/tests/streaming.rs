//! Statements of streams: Flink's, RisingWave's and our own.

use super::*;

const MINUTE: &str = "INTERVAL '1 minute'";

#[test]
fn streams_are_created() {
    check(
        "CREATE STREAM bids (auction BIGINT, price DOUBLE, ts TIMESTAMP(3), WATERMARK FOR TS AS ts - INTERVAL '5 seconds', d AS price * 2, \
         e int GENERATED ALWAYS AS (auction + 1) STORED) WITH ('connector' = 'nexmark', Events = 1000, table = bid, retention = INTERVAL '7' DAY)",
        "Stream bids (auction BigInt; price Double; ts Timestamp(3); d as price * 2; e Int as auction + 1; watermark ts [ts - \
         INTERVAL '5 seconds'] at 68; ) [(\"connector\", \"nexmark\"), (\"events\", \"1000\"), (\"table\", \"bid\"), \
         (\"retention\", \"7 day\")]",
    );
    check(
        "CREATE TABLE t (ts TIMESTAMP_LTZ(3), WATERMARK FOR ts)",
        "Stream t (ts TimestampTz(3); watermark ts [] at 38; ) []",
    );
    check(
        "CREATE TABLE t (a STRING) WITH (connector = 'file')",
        "Stream t (a Text; ) [(\"connector\", \"file\")]",
    );
    check(
        "CREATE SOURCE s WITH (connector = 'nexmark')",
        "Stream s () [(\"connector\", \"nexmark\")]",
    );
    check(
        "CREATE STREAM s (watermark int, p AS PROCTIME())",
        "Stream s (watermark Int; p as PROCTIME(); ) []",
    );
    fails(
        "CREATE STREAM s (ts timestamp, WATERMARK FOR ts, WATERMARK FOR ts)",
        "42601 50 a stream can have only one watermark",
    );
    fails(
        "CREATE STREAM s (a int) WITH (x = 1, 'X' = 2)",
        "42601 38 option \"x\" is given more than once",
    );
    fails("CREATE STREAM s", "42601 16 syntax error at end of input");
    assert!(matches!(
        &parse("CREATE STREAM s AS SELECT 1 EMIT CHANGES").unwrap()[0].statement,
        Statement::CreateStreamAs(_)
    ));
}

#[test]
fn a_sink_is_fed_by_a_relation_or_a_query() {
    check(
        "CREATE SINK k FROM v WITH (connector = 'stdout')",
        "Sink k false FROM v [(\"connector\", \"stdout\")]",
    );
    check(
        "CREATE SINK IF NOT EXISTS k AS WITH c AS (SELECT a FROM s) SELECT a FROM c AS d EMIT FINAL WITH (connector = 'file', path = 'x')",
        "Sink k true AS WITH c AS (SELECT a FROM s) SELECT a FROM c AS d EMIT OnWindowClose [WITH c AS (SELECT a FROM s) SELECT a FROM c AS d EMIT FINAL] [(\"connector\", \"file\"), (\"path\", \"x\")]",
    );
    check(
        "CREATE SINK k WITH ('connector' = 'blackhole') AS SELECT a FROM s",
        "Sink k false AS SELECT a FROM s [SELECT a FROM s] [(\"connector\", \"blackhole\")]",
    );
    fails("CREATE SINK k (a) FROM v", "42601 15 syntax error at or near \"(\"");
    fails(
        "CREATE OR REPLACE SINK k FROM v",
        "0A000 19 CREATE OR REPLACE is for views and functions only",
    );
}

#[test]
fn a_view_keeps_its_text_and_its_emit() {
    check(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v WITH (retention = '1 day') AS\n SELECT a  FROM s EMIT ON WINDOW CLOSE ; ",
        "MaterializedView v true () [(\"retention\", \"1 day\")] SELECT a FROM s EMIT OnWindowClose [SELECT a  FROM s EMIT ON WINDOW CLOSE]",
    );
    check(
        "CREATE MATERIALIZED VIEW v AS (SELECT 1 AS é)",
        "MaterializedView v false () [] (SELECT 1 AS é) [(SELECT 1 AS é)]",
    );
    fails("CREATE VIEW v AS SELECT 1 EMIT CHANGES", "0A000 27 CREATE VIEW does not take EMIT");
}

#[test]
fn emit_is_a_clause_and_no_alias() {
    check("SELECT a FROM t EMIT CHANGES", "SELECT a FROM t EMIT Changes");
    check("SELECT a FROM t x EMIT FINAL", "SELECT a FROM t x EMIT OnWindowClose");
    check("SELECT a EMIT CHANGES", "SELECT a EMIT Changes");
    check(
        "SELECT a FROM t WHERE b EMIT ON WINDOW CLOSE LIMIT 5",
        "SELECT a FROM t WHERE b LIMIT 5 EMIT OnWindowClose",
    );
    check("SELECT a FROM t LIMIT 5 EMIT CHANGES", "SELECT a FROM t LIMIT 5 EMIT Changes");
    check("SELECT emit FROM t", "SELECT emit FROM t");
    fails("SELECT a FROM t emit", "42601 21 syntax error at end of input");
    check("TABLE t", "SELECT * FROM t");
    check("TABLE public.t EMIT CHANGES", "SELECT * FROM public.t EMIT Changes");
    fails(
        "SELECT a FROM t LIMIT 1 EMIT CHANGES LIMIT 2",
        "42601 38 multiple LIMIT clauses not allowed",
    );
    fails("SELECT a FROM t x EMIT SOMETIMES", "42601 24 syntax error at or near \"SOMETIMES\"");
    fails("SELECT a FROM t EMIT ON CLOSE", "42601 22 syntax error at or near \"ON\"");
}

#[test]
fn subscribe_has_many_forms() {
    let plain = "Subscribe v snapshot=true progress=false as_of=None";
    check("SUBSCRIBE v", plain);
    check("SUBSCRIBE TO v", plain);
    check(
        "SUBSCRIBE TO v WITH (SNAPSHOT = false, PROGRESS) AS OF EPOCH 7",
        "Subscribe v snapshot=false progress=true as_of=Some(7)",
    );
    check(
        "SUBSCRIBE (SELECT a FROM s EMIT CHANGES)",
        "Subscribe SELECT a FROM s EMIT Changes snapshot=true progress=false as_of=None",
    );
    check(
        "SUBSCRIBE SELECT a FROM s WITH (SNAPSHOT false)",
        "Subscribe SELECT a FROM s snapshot=false progress=false as_of=None",
    );
    check(
        "SUBSCRIBE TO SELECT a FROM s AS OF EPOCH 3",
        "Subscribe SELECT a FROM s snapshot=true progress=false as_of=Some(3)",
    );
    check(
        "SUBSCRIBE TO (SELECT a FROM s) EMIT ON WINDOW CLOSE",
        "Subscribe SELECT a FROM s EMIT OnWindowClose snapshot=true progress=false as_of=None",
    );
    check(
        "DECLARE c CURSOR FOR SUBSCRIBE v WITH (PROGRESS = true)",
        "Declare c binary=false hold=false Subscribe v snapshot=true progress=true as_of=None",
    );
    let text = "CopyOptions { format: Text, delimiter: 9, null: \"\\\\N\", header: Off, quote: 34, escape: 34, force_quote: None, force_not_null: None, force_null: None }";
    check(
        "COPY (SUBSCRIBE v WITH (SNAPSHOT = off)) TO STDOUT WITH (FORMAT text)",
        &format!("CopyTo Subscribe v snapshot=false progress=false as_of=None {text}"),
    );
    check(
        "COPY (SELECT a FROM s EMIT CHANGES LIMIT 2) TO STDOUT",
        &format!("CopyTo SELECT a FROM s LIMIT 2 EMIT Changes {text}"),
    );
    fails("SUBSCRIBE v WITH (SPEED = 3)", "42601 27 a Boolean value is needed here");
    fails("SUBSCRIBE v WITH (SPEED)", "42601 19 SUBSCRIBE option \"speed\" not recognized");
}

#[test]
fn windows_in_from_have_one_form() {
    let tumble = format!("SELECT * FROM tumble((SELECT * FROM s), ts, {MINUTE})");
    for sql in [
        "SELECT * FROM TUMBLE(s, ts, INTERVAL '1 minute')",
        "SELECT * FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
        "SELECT * FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '60' SECOND)",
        "SELECT * FROM TABLE(TUMBLE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTES))",
        "SELECT * FROM tumble(SIZE => INTERVAL '1:00' MINUTE TO SECOND, DATA => s, timecol => ts)",
        "SELECT * FROM tumble((SELECT * FROM s), ts, INTERVAL '1m')",
    ] {
        check(sql, &tumble);
    }
    check(
        "SELECT * FROM TUMBLE(s, ts, INTERVAL '1 minute') AS w JOIN t ON true",
        &format!("{tumble} AS w JOIN t ON true"),
    );
    check(
        "SELECT * FROM TABLE(HOP(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' MINUTE, \"OFFSET\" => INTERVAL '1' MINUTE)) w",
        &format!("SELECT * FROM hop((SELECT * FROM s), ts, {MINUTE}, {MINUTE}, {MINUTE}) w"),
    );
    check(
        "SELECT * FROM CUMULATE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' MINUTE)",
        &format!("SELECT * FROM cumulate((SELECT * FROM s), ts, {MINUTE}, {MINUTE})"),
    );
    let session = format!("SELECT * FROM session((SELECT * FROM s), ts, {MINUTE}, a, b)");
    for sql in [
        "SELECT * FROM SESSION(s PARTITION BY a, b, ts, INTERVAL '1' MINUTE)",
        "SELECT * FROM TABLE(SESSION(TABLE s PARTITION BY (a, b), DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
        "SELECT * FROM SESSION(DATA => TABLE s PARTITION BY a, b, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '1' MINUTE)",
    ] {
        check(sql, &session);
    }
    check("SELECT * FROM SESSION(s, ts, INTERVAL '1' MINUTE)", &session.replace(", a, b", ""));
    check(
        "SELECT * FROM TUMBLE(TUMBLE(s, ts, INTERVAL '1' MINUTE), window_time, INTERVAL '1' MINUTE)",
        &format!("SELECT * FROM tumble(({tumble}), window_time, {MINUTE})"),
    );
    reads("SELECT * FROM generate_series(1, 3) g, UNNEST(ARRAY[1, 2]) u, LATERAL (SELECT g.g) l");
    fails("SELECT * FROM TUMBLE(s, ts)", "42883 - wrong arguments for TUMBLE");
    fails(
        "SELECT * FROM TUMBLE(s, ts + 1, INTERVAL '1' MINUTE)",
        "42883 - wrong arguments for TUMBLE",
    );
    fails(
        "SELECT * FROM HOP(DATA => s, TIMECOL => ts, STEP => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' MINUTE)",
        "42883 - HOP has no argument STEP",
    );
    fails(
        "SELECT * FROM TUMBLE(s, ts, INTERVAL '1 parsec')",
        "22007 - invalid input syntax for type interval: \"1 parsec\"",
    );
}

#[test]
fn group_windows_become_windows_in_from() {
    check(
        "SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE) AS w, k, count(*) FROM s WHERE v > 1 GROUP BY k, TUMBLE(ts, INTERVAL '1' MINUTE) \
         HAVING TUMBLE_END(ts, INTERVAL '1' MINUTE) > now() ORDER BY TUMBLE_START(ts, INTERVAL '1' MINUTE)",
        &format!(
            "SELECT s.window_start AS w, k, count(*) FROM tumble((SELECT * FROM s), ts, {MINUTE}) AS s WHERE v > 1 GROUP BY k, s.window_start, \
             s.window_end HAVING s.window_end > now() ORDER BY s.window_start"
        ),
    );
    check(
        "SELECT HOP_END(x.ts, INTERVAL '1' MINUTE, INTERVAL '1' MINUTE) FROM s AS x JOIN t ON x.k = t.k GROUP BY HOP(x.ts, INTERVAL '1' MINUTE, INTERVAL '1' MINUTE)",
        &format!(
            "SELECT x.window_end AS hop_end FROM hop((SELECT * FROM s AS x), ts, {MINUTE}, {MINUTE}) AS x JOIN t ON x.k = t.k GROUP BY x.window_start, x.window_end"
        ),
    );
    check(
        "SELECT SESSION_START(ts, INTERVAL '1' MINUTE), TUMBLE_x(1) FROM (SELECT * FROM s) AS q GROUP BY SESSION(ts, INTERVAL '1' MINUTE)",
        &format!(
            "SELECT q.window_start AS session_start, TUMBLE_x(1) FROM session((SELECT * FROM s), ts, {MINUTE}) AS q GROUP BY q.window_start, q.window_end"
        ),
    );
    check(
        "SELECT s.k, SESSION_END(ts, INTERVAL '1' MINUTE) FROM s GROUP BY s.k, SESSION(ts, INTERVAL '1' MINUTE)",
        &format!(
            "SELECT s.k, s.window_end AS session_end FROM session((SELECT * FROM s), ts, {MINUTE}, k) AS s GROUP BY s.k, s.window_start, s.window_end"
        ),
    );
    fails(
        "SELECT count(*) FROM s GROUP BY k + 1, SESSION(ts, INTERVAL '1' MINUTE)",
        "0A000 - GROUP BY of SESSION beside something that is no column",
    );
    check(
        "SELECT TUMBLE_ROWTIME(ts, INTERVAL '1' MINUTE) AS t FROM s GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE) UNION ALL SELECT 1",
        &format!(
            "SELECT s.window_time AS t FROM tumble((SELECT * FROM s), ts, {MINUTE}) AS s GROUP BY s.window_start, s.window_end, s.window_time UNION ALL SELECT 1"
        ),
    );
    fails(
        "SELECT TUMBLE_START(ts, INTERVAL '2' MINUTE) FROM s GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
        "42803 - TUMBLE_START does not match GROUP BY TUMBLE",
    );
    fails(
        "SELECT 1 FROM s, t GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
        "0A000 - which relation of the join GROUP BY's window belongs to is not clear",
    );
}

#[test]
fn a_temporal_join_is_a_join() {
    let plain = "SELECT * FROM s JOIN t AS x ON s.k = x.k";
    check("SELECT * FROM s JOIN t FOR SYSTEM_TIME AS OF PROCTIME() AS x ON s.k = x.k", plain);
    check(
        "SELECT * FROM s JOIN t FOR SYSTEM_TIME AS OF NOW() x ON s.k = x.k",
        "SELECT * FROM s JOIN t x ON s.k = x.k",
    );
    check(
        "SELECT * FROM s LEFT JOIN t FOR SYSTEM_TIME AS OF s.p ON s.k = t.k",
        "SELECT * FROM s LEFT JOIN LATERAL (SELECT * EXCLUDE (\"__since\", \"__until\") FROM \"__versions.public\".\"t\" \
         WHERE \"__since\" <= (__system_time(s.p)) AND (\"__until\" > (__system_time(s.p)))) AS \"t\" ON s.k = t.k",
    );
    fails(
        "SELECT * FROM s JOIN t VERSION AS OF 3 ON s.k = t.k",
        "0A000 - this way to ask for a version of a table is not supported",
    );
}

#[test]
fn explain_has_its_options() {
    check("EXPLAIN SELECT 1", "Explain analyze=false verbose=false SELECT 1");
    check(
        "EXPLAIN (ANALYZE, VERBOSE true, COSTS off, FORMAT text) SELECT 1",
        "Explain analyze=true verbose=true SELECT 1",
    );
    check(
        "EXPLAIN ANALYZE SELECT 1 FROM s EMIT CHANGES",
        "Explain analyze=true verbose=false SELECT 1 FROM s EMIT Changes",
    );
    check("EXPLAIN (SELECT 1)", "Explain analyze=false verbose=false (SELECT 1)");
    check("EXPLAIN MATERIALIZED VIEW v", "ExplainView analyze=false v");
    check("EXPLAIN WATERMARK FOR v", "ExplainWatermark v");
    fails("EXPLAIN INSERT INTO t VALUES (1)", "0A000 9 EXPLAIN INSERT is not supported");
    fails("EXPLAIN (FORMAT json) SELECT 1", "0A000 10 EXPLAIN has one format, text");
}

#[test]
fn queries_of_flink_and_risingwave_are_read() {
    for sql in [
        "SELECT auction, 0.908 * price AS price, bidder, dateTime FROM bid",
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        "SELECT P.name, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id WHERE A.category = 10 AND (P.state = 'OR' OR P.state = 'ID')",
        "SELECT B.auction, B.price FROM bid B JOIN (SELECT MAX(price) AS maxprice, window_end AS dateTime FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) B1 ON B.price = B1.maxprice WHERE B.dateTime BETWEEN B1.dateTime - INTERVAL '10' SECOND AND B1.dateTime",
        "SELECT id, price FROM (SELECT A.*, B.price, ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime ASC) AS rownum FROM auction A, bid B WHERE A.id = B.auction) WHERE rownum <= 1",
        "SELECT COUNT(*) FILTER (WHERE price < 10000) AS rank1, count(DISTINCT bidder) FROM bid GROUP BY 1",
        "SELECT auction, bidder FROM (SELECT *, ROW_NUMBER() OVER w AS r FROM bid WINDOW w AS (PARTITION BY auction ORDER BY ts)) x WHERE r <= 10",
        "WITH a AS (SELECT 1), b AS MATERIALIZED (SELECT * FROM a) SELECT * FROM b EMIT CHANGES",
        "SELECT k, array_agg(v ORDER BY ts), percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM s GROUP BY GROUPING SETS ((k), ()), ROLLUP(a), CUBE(b)",
        "SELECT CAST(x AS STRING), x::timestamp_ltz(3), CAST(y AS TIMESTAMP(3) WITH LOCAL TIME ZONE), TIMESTAMP '2020-01-01 00:00:00', DATE '2020-01-01' FROM s",
        "SELECT * FROM s, unnest(string_to_array(line, ' ')) AS w(word)",
        "SELECT a #>> '{b,c}', a -> 'x' ->> 0, a @> '{}', a ? 'k', data || '{}'::jsonb FROM s",
        "SELECT EXTRACT(EPOCH FROM ts), ts AT TIME ZONE 'UTC', substring(a from 2 for 3), position('a' in b), trim(both 'x' from y) FROM s",
        "SELECT DISTINCT ON (k) k, v FROM s ORDER BY k, ts DESC FETCH FIRST 3 ROWS ONLY",
        "SELECT row_number() OVER (ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW), lag(v, 1) IGNORE NULLS OVER (ORDER BY ts) FROM s",
        "SELECT a FROM s WHERE (a, b) IN (SELECT a, b FROM t) AND EXISTS (SELECT 1 FROM u WHERE u.a = s.a) AND c = ANY ($1)",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT $tag$ a 'quoted' $$ body $tag$, U&'\\0061', B'101', X'1F', 1e10, .5, 1_000",
        "SELECT a FROM s WHERE a LIKE '%x' ESCAPE '!' AND b NOT ILIKE 'y' AND c SIMILAR TO 'z' AND d IS NOT DISTINCT FROM e",
        "SELECT f(a => 1, b := 2), (r).x, arr[1], arr[1:2], ARRAY[1,2], ROW(1, 'x') FROM s",
    ] {
        reads(sql);
    }
}

#[test]
fn locking_and_hints_are_refused_instead_of_ignored() {
    fails(
        "SELECT * FROM t FOR UPDATE",
        "0A000 - SELECT FOR UPDATE and FOR SHARE are not supported",
    );
    fails("SELECT * INTO u FROM t", "0A000 - SELECT INTO is not supported");
    fails(
        "SELECT * FROM t WITH (SNAPSHOT = false)",
        "0A000 - options behind a relation in FROM are not supported",
    );
}
