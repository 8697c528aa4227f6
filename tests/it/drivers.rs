//! Drivers: every type as a parameter and back, COPY both ways, a cursor over a continuous query,
//! cancel.
//!
//! tokio-postgres runs here. psycopg, asyncpg, and DuckDB as a second opinion on windows, run in
//! `tests/drivers/*.py` with the Python that `TIDEMILL_TEST_PYTHON` names, which `.ci/run` makes;
//! JDBC in `tests/drivers/JdbcDriver.java`, with the driver's jar that `TIDEMILL_TEST_JDBC` names.

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::server;

/// The columns that every driver test uses, in this order.
const COLUMNS: &str = "b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n DECIMAL(12,3), \
    t TEXT, vc VARCHAR(20), by BYTEA, d DATE, tm TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, \
    j JSON, jb JSONB, ai INT[], at TEXT[]";

/// A value in its binary form, of whatever type: it must come back as it went in.
#[derive(Debug, Clone, PartialEq)]
struct Binary(Vec<u8>);

impl<'a> FromSql<'a> for Binary {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Binary(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Binary {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Creates a static table or a stream with a column of every type.
async fn create(client: &Client, kind: &str) -> String {
    let name = server::unique("types");
    let watermark = if kind == "STREAM" { ", WATERMARK FOR ts" } else { "" };
    server::run(client, &format!("CREATE {kind} {name} ({COLUMNS}{watermark})")).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_as_a_parameter_and_comes_back() {
    let client = server::shared().connect().await;
    for kind in ["TABLE", "STREAM"] {
        let name = create(&client, kind).await;
        round_trip(&client, &name).await;
        nulls(&client, &name).await;
    }
}

async fn round_trip(client: &Client, name: &str) {
    let places: Vec<String> = (1..=20).map(|i| format!("${i}")).collect();
    let insert = format!("INSERT INTO {name} VALUES ({})", places.join(", "));
    let ask = "SELECT '-12345.678'::decimal(12,3), '1 mon 2 days 03:04:05.5'::interval";
    let given = client.query_one(ask, &[]).await.expect("two values in binary");
    let (number, interval): (Binary, Binary) = (given.get(0), given.get(1));
    let date = NaiveDate::from_ymd_opt(1969, 12, 31).expect("a date");
    let time = NaiveTime::from_hms_micro_opt(23, 59, 58, 123_456).expect("a time");
    let (ts, tz): (NaiveDateTime, DateTime<Utc>) =
        (date.and_time(time), date.and_time(time).and_utc());
    let (json, array) = (serde_json::json!({"a": [1, null, "ü"]}), vec![Some(1), None, Some(-3)]);
    let words = vec!["a,b".to_owned(), String::new(), "\"q\" \\ NULL".to_owned()];
    let (id, bytes, text) =
        (Uuid::from_u128(0x1234_5678), vec![0_u8, 255, 92], "Zoë 'q' \\ \u{1F980}".to_owned());
    let values: [&(dyn ToSql + Sync); 20] = [
        &true,
        &i16::MIN,
        &i32::MAX,
        &i64::MIN,
        &1.5_f32,
        &-0.1_f64,
        &number,
        &text,
        &"short",
        &bytes,
        &date,
        &time,
        &ts,
        &tz,
        &interval,
        &id,
        &json,
        &json,
        &array,
        &words,
    ];
    let done = client
        .execute(&insert, &values)
        .await
        .unwrap_or_else(|e| panic!("{}", server::describe(&e)));
    assert_eq!(done, 1);
    let row =
        client.query_one(&format!("SELECT * FROM {name}"), &[]).await.expect("the row in binary");
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        (row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)),
        (i16::MIN, i32::MAX, i64::MIN)
    );
    assert_eq!((row.get::<_, f32>(4), row.get::<_, f64>(5)), (1.5, -0.1));
    assert_eq!(row.get::<_, Binary>(6), number);
    assert_eq!((row.get::<_, String>(7), row.get::<_, String>(8)), (text, "short".to_owned()));
    assert_eq!(row.get::<_, Vec<u8>>(9), bytes);
    assert_eq!((row.get::<_, NaiveDate>(10), row.get::<_, NaiveTime>(11)), (date, time));
    assert_eq!((row.get::<_, NaiveDateTime>(12), row.get::<_, DateTime<Utc>>(13)), (ts, tz));
    assert_eq!(row.get::<_, Binary>(14), interval);
    assert_eq!(row.get::<_, Uuid>(15), id);
    assert_eq!(
        (row.get::<_, serde_json::Value>(16), row.get::<_, serde_json::Value>(17)),
        (json.clone(), json)
    );
    assert_eq!((row.get::<_, Vec<Option<i32>>>(18), row.get::<_, Vec<String>>(19)), (array, words));
    let types: Vec<&str> = row.columns().iter().map(|column| column.type_().name()).collect();
    let expected = "bool int2 int4 int8 float4 float8 numeric text varchar bytea date time timestamp timestamptz \
                    interval uuid json jsonb _int4 _text";
    assert_eq!(types.join(" "), expected);
    let as_text =
        server::lines(client, &format!("SELECT n, iv, ts, tz, by, ai, at FROM {name}")).await;
    let expected = r#"-12345.678|1 mon 2 days 03:04:05.5|1969-12-31 23:59:58.123456|1969-12-31 23:59:58.123456+00|\x00ff5c|{1,NULL,-3}|{"a,b","","\"q\" \\ NULL"}"#;
    assert_eq!(as_text, [expected]);
}

async fn nulls(client: &Client, name: &str) {
    let places: Vec<String> = (1..=20).map(|i| format!("${i}")).collect();
    let insert = format!("INSERT INTO {name} VALUES ({})", places.join(", "));
    let null: Option<Binary> = None;
    let values: Vec<&(dyn ToSql + Sync)> = (0..20).map(|_| &null as &(dyn ToSql + Sync)).collect();
    client.execute(&insert, &values).await.unwrap_or_else(|e| panic!("{}", server::describe(&e)));
    let row = client
        .query_one(&format!("SELECT * FROM {name} WHERE b IS NULL"), &[])
        .await
        .expect("one row");
    assert!((0..20).all(|i| row.get::<_, Option<Binary>>(i).is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_get_their_types_from_where_they_stand() {
    let client = server::shared().connect().await;
    let name = create(&client, "TABLE").await;
    server::run(
        &client,
        &format!("INSERT INTO {name} (i4, t, n) VALUES (1, 'a', 1.5), (2, 'b', 2.5)"),
    )
    .await;
    let sql = format!("SELECT t FROM {name} WHERE i4 = $1 AND t <> $2 LIMIT $3");
    let statement = client.prepare(&sql).await.expect("it can be planned");
    let types: Vec<&str> = statement.params().iter().map(Type::name).collect();
    assert_eq!(types, ["int4", "text", "int8"]);
    let rows = client.query(&statement, &[&2, &"x", &10_i64]).await.expect("one row");
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["b"]);
    let untyped = client
        .query_one("SELECT $1::int + 1, $2::text || 'x'", &[&41, &"y"])
        .await
        .expect("one row");
    assert_eq!((untyped.get::<_, i32>(0), untyped.get::<_, String>(1)), (42, "yx".to_owned()));
    let rows = client
        .query(&format!("SELECT i4 FROM {name} WHERE i4 = ANY($1)"), &[&vec![2, 3]])
        .await
        .expect("an array");
    assert_eq!(rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_goes_both_ways_in_every_format() {
    let client = server::shared().connect().await;
    let from = create(&client, "TABLE").await;
    server::run(
        &client,
        &format!(
            "INSERT INTO {from} VALUES (true, -1, 2, 3, 0.5, 1e300, 12.345, E'tab\\there\\nand \\\\ there', 'v', '\\x00ff', \
             '0044-03-15', '12:00:00.000001', '1900-01-01 00:00:00', '2024-02-29 12:00:00+02', '-1 day', \
             '00000000-0000-0000-0000-000000000001', '{{\"a\":1}}', '[1,2]', '{{1,NULL}}', '{{\"a b\",NULL,\"\"}}')"
        ),
    )
    .await;
    server::run(&client, &format!("INSERT INTO {from} (t) VALUES (NULL), ('')")).await;
    let expected = server::lines(&client, &format!("SELECT * FROM {from} ORDER BY i2, t")).await;
    for format in ["text", "csv", "csv, HEADER", "binary"] {
        for kind in ["TABLE", "STREAM"] {
            let to = create(&client, kind).await;
            let out =
                client.copy_out(&format!("COPY {from} TO STDOUT WITH (FORMAT {format})")).await;
            let data: Vec<Bytes> = out.expect("copy out").try_collect().await.expect("the data");
            let sink = client
                .copy_in(&format!("COPY {to} FROM STDIN WITH (FORMAT {format})"))
                .await
                .expect("copy in");
            let mut sink = std::pin::pin!(sink);
            for byte in data.concat() {
                // A byte a message: nothing may depend on where messages end.
                sink.send(Bytes::from(vec![byte])).await.expect("taken");
            }
            let count = sink
                .finish()
                .await
                .unwrap_or_else(|e| panic!("{format}: {}", server::describe(&e)));
            assert_eq!(count, 3, "{format}");
            assert_eq!(
                server::lines(&client, &format!("SELECT * FROM {to} ORDER BY i2, t")).await,
                expected,
                "{format}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_over_a_continuous_query_waits_for_its_rows() {
    let server = server::shared();
    let (writer, mut reader) = (server.connect().await, server.connect().await);
    let stream = server::unique("live");
    server::run(
        &writer,
        &format!("CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts)"),
    )
    .await;
    let transaction = reader.transaction().await.expect("a transaction");
    let sql = format!(
        "DECLARE c CURSOR FOR SELECT window_start, count(*) FROM TUMBLE({stream}, ts, INTERVAL '1 second') \
         GROUP BY window_start, window_end EMIT ON WINDOW CLOSE"
    );
    transaction.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{}", server::describe(&e)));
    let nothing = transaction
        .query("FETCH 5 FROM c WITH (timeout = '100 ms')", &[])
        .await
        .expect("no rows yet");
    assert!(nothing.is_empty());
    let mut waits = Vec::new();
    for second in 0..21 {
        let insert = format!(
            "INSERT INTO {stream} VALUES ('a', TIMESTAMP '2024-01-01' + INTERVAL '{second} seconds')"
        );
        server::run(&writer, &insert).await;
        if second > 0 {
            let begun = Instant::now();
            let rows = transaction
                .query("FETCH 1 FROM c", &[])
                .await
                .expect("the window that has just closed");
            waits.push(begun.elapsed());
            let start =
                NaiveDate::from_ymd_opt(2024, 1, 1).and_then(|d| d.and_hms_opt(0, 0, second - 1));
            assert_eq!(
                (rows[0].get::<_, NaiveDateTime>(0), rows[0].get::<_, i64>(1)),
                (start.expect("a time"), 1)
            );
        }
    }
    waits.sort();
    // A debug build beside other tests; the release build's figure is in the benchmark.
    assert!(
        waits[waits.len() / 2] < Duration::from_millis(250),
        "it takes {waits:?} from INSERT to row"
    );
    transaction.batch_execute("CLOSE c").await.expect("closed");
    transaction.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_a_continuous_query_and_leaves_the_connection() {
    let server = server::shared();
    let (client, watcher) = (server.connect().await, server.connect().await);
    let stream = server::unique("cancelled");
    server::run(
        &client,
        &format!("CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts)"),
    )
    .await;
    let running =
        format!("SELECT count(*) FROM tidemill.queries WHERE sql LIKE '%FROM {stream} EMIT%'");
    let sql = format!("SELECT * FROM {stream} EMIT CHANGES");
    let token = client.cancel_token();
    let query = tokio::spawn(async move { (client.simple_query(&sql).await.map(|_| ()), client) });
    server::eventually(&watcher, &running, "1").await;
    token.cancel_query(NoTls).await.expect("sent");
    let (result, client) = query.await.expect("no panic");
    assert_eq!(server::state(&result.expect_err("cancelled")), "57014");
    server::eventually(&watcher, &running, "0").await;
    assert_eq!(server::value(&client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_in_the_extended_protocol_sends_rows_as_they_change() {
    let server = server::shared();
    let (writer, reader) = (server.connect().await, server.connect().await);
    let (stream, view) = (server::unique("s"), server::unique("v"));
    server::run(
        &writer,
        &format!(
            "CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts);
             CREATE MATERIALIZED VIEW {view} AS SELECT k, count(*) AS n FROM {stream} GROUP BY k;
             INSERT INTO {stream} VALUES ('a', '2024-01-01'), ('a', '2024-01-01')"
        ),
    )
    .await;
    let params: [&(dyn ToSql + Sync); 0] = [];
    let rows = reader.query_raw(&format!("SUBSCRIBE {view}"), params).await.expect("it begins");
    let mut rows = std::pin::pin!(rows);
    let mut next = async || -> (i64, String, i64) {
        let row = tokio::time::timeout(server::PATIENCE, rows.next()).await.expect("a row in time");
        let row = row.expect("not the end").expect("no error");
        (row.get("diff"), row.get("k"), row.get("n"))
    };
    assert_eq!(next().await, (1, "a".to_owned(), 2));
    server::run(&writer, &format!("INSERT INTO {stream} VALUES ('a', '2024-01-01 00:00:01')"))
        .await;
    let mut both = [next().await, next().await];
    both.sort();
    assert_eq!(both, [(-1, "a".to_owned(), 2), (1, "a".to_owned(), 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_asyncpg_and_duckdb_agree() {
    let Ok(python) = std::env::var("TIDEMILL_TEST_PYTHON") else {
        eprintln!(
            "psycopg, asyncpg and DuckDB were NOT tested: TIDEMILL_TEST_PYTHON names no Python (.ci/run makes one)"
        );
        return;
    };
    for script in ["psycopg_driver.py", "asyncpg_driver.py", "duckdb_oracle.py"] {
        let mut command = Command::new(&python);
        command.arg(server::repository().join("tests/drivers").join(script));
        all_is_well(script, command).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_agrees() {
    let Ok(jar) = std::env::var("TIDEMILL_TEST_JDBC") else {
        eprintln!(
            "JDBC was NOT tested: TIDEMILL_TEST_JDBC names no postgresql.jar (.ci/run sets it where there is a javac)"
        );
        return;
    };
    let mut command = Command::new("java");
    command.args(["-cp", &jar]).arg(server::repository().join("tests/drivers/JdbcDriver.java"));
    all_is_well("JdbcDriver.java", command).await;
}

/// Runs a program against the shared server; it says so when all is well.
async fn all_is_well(name: &str, mut command: Command) {
    command.env("TIDEMILL_PORT", server::shared().port.to_string());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{name} runs: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all is well"), "{name}:\n{said}");
}
