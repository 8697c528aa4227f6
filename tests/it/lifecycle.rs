//! Relations come and go while others read and write: nothing stale is left, nothing else is
//! harmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use tokio_postgres::Client;

use crate::server::{self, Server};

/// Inserts one row after the other until told to stop; says how many.
fn write(server: &Arc<Server>, stream: &str) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (server, stopped, stream) = (Arc::clone(server), Arc::clone(&stop), stream.to_owned());
    let task = tokio::spawn(async move {
        let client = server.connect().await;
        let mut written = 0;
        while !stopped.load(Ordering::Relaxed) {
            let sql = format!(
                "INSERT INTO {stream} VALUES ({written}, TIMESTAMP '2024-01-01' + INTERVAL '{written} milliseconds')"
            );
            server::run(&client, &sql).await;
            written += 1;
        }
        written
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_dropped_relation_is_not_given_again_after_a_restart() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (v INT); CREATE MATERIALIZED VIEW v AS SELECT v FROM s")
        .await;
    let id = "SELECT id FROM tidemill.queries WHERE name = 'v'";
    let first: u64 = server::value(&client, id).await.parse().expect("a number");
    server::run(&client, "DROP MATERIALIZED VIEW v").await;
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "CREATE MATERIALIZED VIEW v AS SELECT v FROM s").await;
    let second: u64 = server::value(&client, id).await.parse().expect("a number");
    assert!(second > first, "{second} was {first} before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_made_again_with_other_columns_has_nothing_of_the_old() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (k TEXT, ts TIMESTAMP, WATERMARK FOR ts);
         CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k;
         INSERT INTO s VALUES ('old', '2024-01-01'), ('late', '2023-01-01'), ('no time', NULL)",
    )
    .await;
    // A client that was told of the old columns is not sent the new ones.
    let prepared = client.prepare("SELECT * FROM s").await.expect("prepared");
    assert_eq!(server::value(&client, "SELECT count(*) FROM v").await, "3");
    server::run(
        &client,
        "DROP STREAM s CASCADE;
         CREATE STREAM s (a BIGINT, b DOUBLE PRECISION, ts TIMESTAMP, WATERMARK FOR ts);
         CREATE MATERIALIZED VIEW v AS SELECT a, sum(b) AS total FROM s GROUP BY a;
         INSERT INTO s VALUES (1, 2.5, '2020-01-01')",
    )
    .await;
    let check = async |client: &Client| {
        assert_eq!(server::lines(client, "SELECT * FROM s").await, ["1|2.5|2020-01-01 00:00:00"]);
        server::eventually(client, "SELECT * FROM v", "1|2.5").await;
        assert_eq!(server::lines(client, "SELECT * FROM tidemill.rejected_rows").await.len(), 0);
        assert_eq!(server::lines(client, "SELECT * FROM tidemill.late_rows").await.len(), 0);
    };
    check(&client).await;
    let answer = client.query(&prepared, &[]).await;
    let error = answer.err().map(|error| server::state(&error));
    assert_eq!(error.as_deref(), Some("0A000"));
    server.kill();
    let server = Server::durable(dir.path());
    check(&server.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_what_a_subscriber_and_a_cursor_read_ends_both_with_a_reason() {
    let server = server::shared();
    let (client, reader, other) =
        (server.connect().await, server.connect().await, server.connect().await);
    let (s, v) = (server::unique("s"), server::unique("v"));
    server::run(
        &client,
        &format!(
            "CREATE STREAM {s} (k INT); CREATE MATERIALIZED VIEW {v} AS SELECT k, count(*) AS n FROM {s} GROUP BY k;
             INSERT INTO {s} VALUES (1)"
        ),
    )
    .await;
    let live =
        reader.copy_out(&format!("COPY (SUBSCRIBE {v}) TO STDOUT")).await.expect("a subscription");
    let mut live = std::pin::pin!(live);
    let first = live.try_next().await.expect("a row").expect("not the end");
    assert!(String::from_utf8_lossy(&first).contains("1\t1"), "{first:?}");
    server::run(&other, &format!("BEGIN; DECLARE c CURSOR FOR SELECT k FROM {s} EMIT CHANGES"))
        .await;
    assert_eq!(server::lines(&other, "FETCH 1 FROM c").await, ["1"]);
    assert_eq!(server::failure(&client, &format!("DROP STREAM {s}")).await, "2BP01");
    server::run(&client, &format!("DROP STREAM {s} CASCADE")).await;
    let ended = async {
        loop {
            match live.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return "the end".to_owned(),
                Err(error) => return server::state(&error),
            }
        }
    };
    let ended = tokio::time::timeout(server::PATIENCE, ended).await.expect("the subscription ends");
    assert_eq!(ended, "42P01");
    // A cursor of its own that reads the log directly is told as well, and its session goes on.
    assert_eq!(server::failure(&other, "FETCH 1 FROM c").await, "42P01");
    server::run(&other, "ROLLBACK").await;
    assert_eq!(server::value(&other, "SELECT 1").await, "1");
    // A generated stream would go on for ever: it ends with its name.
    let bids = server::unique("bids");
    let options = "connector = 'nexmark', 'table' = 'bid', rate = 1000";
    server::run(&client, &format!("CREATE SOURCE {bids} WITH ({options})")).await;
    let declare = format!(
        "BEGIN; DECLARE c CURSOR FOR SELECT price FROM {bids} WHERE price < 0 EMIT CHANGES"
    );
    server::run(&other, &declare).await;
    server::run(&client, &format!("DROP SOURCE {bids}")).await;
    assert_eq!(server::failure(&other, "FETCH 1 FROM c").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_views_come_and_go_while_rows_are_written() {
    let server = Arc::new(Server::ephemeral());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v BIGINT, ts TIMESTAMP, WATERMARK FOR ts);
         CREATE MATERIALIZED VIEW stays AS SELECT count(*) AS n, sum(v) AS t FROM s",
    )
    .await;
    let (stop, writer) = write(&server, "s");
    for i in 0..50 {
        let query = match i % 3 {
            0 => "SELECT v % 10 AS k, count(*) AS n FROM s GROUP BY 1",
            1 => {
                "SELECT window_start, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 second') GROUP BY window_start, window_end"
            }
            _ => "SELECT v, v + 1 AS w FROM s WHERE v % 2 = 0",
        };
        server::run(&client, &format!("CREATE MATERIALIZED VIEW v{i} AS {query}")).await;
        if i % 2 == 0 {
            server::run(&client, &format!("SELECT count(*) FROM v{i}")).await;
        }
        if i >= 5 {
            server::run(&client, &format!("DROP MATERIALIZED VIEW v{}", i - 5)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.expect("the writer ends well");
    let expected = format!("{written}|{}", (0..written).sum::<u64>());
    assert_eq!(server::lines(&client, "SELECT * FROM stays").await, [expected]);
    assert_eq!(
        server::value(&client, "SELECT count(*) FROM tidemill.queries WHERE state = 'failed'")
            .await,
        "0"
    );
    assert_eq!(server::value(&client, "SELECT sum(n) FROM v48").await, written.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_long_history_catches_up_while_rows_are_written() {
    let server = Arc::new(Server::ephemeral());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v BIGINT, ts TIMESTAMP, WATERMARK FOR ts);
         INSERT INTO s SELECT i, to_timestamp_seconds(1600000000 + i)::timestamp FROM generate_series(1, 600000) AS g(i)",
    )
    .await;
    let (stop, writer) = write(&server, "s");
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW counted AS SELECT v % 7 AS k, count(*) AS n, sum(v) AS t FROM s GROUP BY 1",
    )
    .await;
    server::eventually(
        &client,
        "SELECT state FROM tidemill.queries WHERE name = 'counted'",
        "running",
    )
    .await;
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer ends well");
    let query = "SELECT v % 7 AS k, count(*) AS n, sum(v) AS t FROM s GROUP BY 1 ORDER BY 1";
    let expected = server::lines(&client, query).await;
    assert_eq!(server::lines(&client, "SELECT * FROM counted ORDER BY 1").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_fails_says_why_and_everything_else_goes_on_also_after_a_restart() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v INT);
         CREATE MATERIALIZED VIEW bad AS SELECT 10 / v AS q FROM s;
         CREATE MATERIALIZED VIEW good AS SELECT sum(v) AS t FROM s;
         INSERT INTO s VALUES (1), (2)",
    )
    .await;
    assert_eq!(server::value(&client, "SELECT sum(q) FROM bad").await, "15");
    server::run(&client, "INSERT INTO s VALUES (0), (5)").await;
    let state = "SELECT state, error LIKE '%division by zero%22012%' FROM tidemill.queries WHERE name = 'bad'";
    server::eventually(&client, state, "failed|t").await;
    assert_eq!(server::failure(&client, "SELECT * FROM bad").await, "55000");
    assert_eq!(server::value(&client, "SELECT t FROM good").await, "8");
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "INSERT INTO s VALUES (7)").await;
    assert_eq!(server::value(&client, "SELECT t FROM good").await, "15");
    server::eventually(&client, state, "failed|t").await;
    server::run(&client, "DROP MATERIALIZED VIEW bad").await;
    assert_eq!(server::failure(&client, "SELECT * FROM bad").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_read_into_tables_and_streams() {
    let client = server::shared().connect().await;
    let (s, v, t, d) =
        (server::unique("s"), server::unique("v"), server::unique("t"), server::unique("d"));
    server::run(
        &client,
        &format!(
            "CREATE STREAM {s} (k TEXT, v INT);
             CREATE MATERIALIZED VIEW {v} AS SELECT k, sum(v) AS total FROM {s} GROUP BY k;
             INSERT INTO {s} VALUES ('a', 1), ('b', 2), ('a', 3);
             CREATE TABLE {t} AS SELECT * FROM {v};
             CREATE STREAM {d} (k TEXT, total BIGINT);
             INSERT INTO {d} SELECT k, total FROM {v};
             INSERT INTO {s} VALUES ('a', 10)"
        ),
    )
    .await;
    server::run(&client, &format!("INSERT INTO {t} SELECT * FROM {v} WHERE k = 'a'")).await;
    let rows = async |name: &str| {
        server::lines(&client, &format!("SELECT * FROM {name} ORDER BY k, total")).await
    };
    assert_eq!(rows(&t).await, ["a|4", "a|14", "b|2"]);
    assert_eq!(rows(&d).await, ["a|4", "b|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_views_are_made_leaves_each_whole_or_not_at_all() {
    let dir = server::directory();
    let mut server = Arc::new(Server::durable(dir.path()));
    server::run(
        &server.connect().await,
        "CREATE STREAM s (v BIGINT);
         INSERT INTO s SELECT * FROM generate_series(1, 100000) AS g(i)",
    )
    .await;
    for round in 0..4 {
        let client = server.connect().await;
        let (making, made) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut making = Some(making);
            for i in 0..100 {
                let sql = format!(
                    "CREATE MATERIALIZED VIEW r{round}_{i} AS SELECT v % 5 AS k, count(*) AS n FROM s GROUP BY 1"
                );
                if client.batch_execute(&sql).await.is_err() {
                    return i;
                }
                if let (2.., Some(making)) = (i, making.take_if(|_| i >= 2)) {
                    let _ = making.send(());
                }
            }
            100
        });
        made.await.expect("three were made");
        server.kill();
        let acknowledged = task.await.expect("no panic");
        server = Arc::new(Server::durable(dir.path()));
        let client = server.connect().await;
        let names = server::lines(
            &client,
            &format!("SELECT name FROM tidemill.queries WHERE name LIKE 'r{round}%'"),
        )
        .await;
        assert!(
            names.len() >= acknowledged && names.len() <= acknowledged + 1,
            "{acknowledged}: {names:?}"
        );
        for name in &names {
            let sql = format!("SELECT count(*), min(n), max(n) FROM {name}");
            assert_eq!(server::lines(&client, &sql).await, ["5|20000|20000"], "{name}");
            server::run(&client, &format!("DROP MATERIALIZED VIEW {name}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_is_refused_and_the_server_lives() {
    let flags = ["--ephemeral", "--memory-limit", "64MiB"];
    let server = Server::start(&flags);
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v BIGINT); CREATE MATERIALIZED VIEW small AS SELECT count(*) AS n FROM s",
    )
    .await;
    let many = "SELECT v::text || repeat('x', 100) AS k, count(*) AS n FROM s GROUP BY 1";
    server::run(&client, &format!("CREATE MATERIALIZED VIEW large AS {many}")).await;
    for part in 0..10 {
        let sql = format!(
            "INSERT INTO s SELECT i FROM generate_series({}, {}) AS g(i)",
            part * 100_000,
            part * 100_000 + 99_999
        );
        server::run(&client, &sql).await;
    }
    // The continuous query has failed with its state; a snapshot of the same is refused as well.
    let state = "SELECT state, error LIKE '%out of memory%53200%' FROM tidemill.queries WHERE name = 'large'";
    server::eventually(&client, state, "failed|t").await;
    for sql in [many.to_owned(), format!("{many} EMIT CHANGES")] {
        let error = client.simple_query(&sql).await.expect_err("there is no memory for it");
        assert_eq!(server::state(&error), "53200", "{}", server::describe(&error));
    }
    assert_eq!(server::value(&client, "SELECT n FROM small").await, "1000000");
    server::run(&client, "DROP MATERIALIZED VIEW large").await;
    assert_eq!(server::value(&client, "SELECT count(DISTINCT v % 10) FROM s").await, "10");
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_everything_with_everything_is_refused_and_counted() {
    let flags = ["--ephemeral", "--memory-limit", "128MiB"];
    let server = Server::start(&flags);
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM a (v BIGINT); CREATE STREAM b (w BIGINT);
         CREATE MATERIALIZED VIEW small AS SELECT count(*) AS n FROM a;
         CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, sum(v) AS s FROM a CROSS JOIN b WHERE v <> w;
         CREATE MATERIALIZED VIEW pairs AS SELECT v, w FROM a CROSS JOIN b;
         CREATE MATERIALIZED VIEW ranked AS SELECT v, w, rank() OVER (ORDER BY v + w) AS r FROM a LEFT JOIN b ON v <> w",
    )
    .await;
    let rows = |stream: &str| {
        format!("INSERT INTO {stream} SELECT i FROM generate_series(1, 5000) AS g (i)")
    };
    server::run(&client, &rows("a")).await;
    server::run(&client, &rows("b")).await;
    for view in ["pairs", "ranked"] {
        let state = format!(
            "SELECT state, error LIKE '%out of memory%53200%' FROM tidemill.queries WHERE name = '{view}'"
        );
        server::eventually(&client, &state, "failed|t").await;
    }
    assert_eq!(server::lines(&client, "SELECT * FROM small").await, ["5000"]);
    // What is only counted is never together in memory.
    assert_eq!(server::lines(&client, "SELECT * FROM counted").await, ["24995000|62499997500"]);
    assert!(server.memory("VmHWM") < 1_200, "peak memory was {} MiB", server.memory("VmHWM"));
    server::run(&client, "DROP MATERIALIZED VIEW pairs; DROP MATERIALIZED VIEW ranked").await;
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_has_no_memory_at_the_start_is_whole_again_when_there_is_more() {
    let dir = server::directory();
    let kept = dir.path().to_str().expect("UTF-8");
    let start = |limit: &str| Server::start(&["--data-dir", kept, "--memory-limit", limit]);
    let server = start("1GiB");
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v BIGINT);
         CREATE MATERIALIZED VIEW many AS SELECT v::text || repeat('x', 100) AS k, count(*) AS n FROM s GROUP BY 1;
         CREATE MATERIALIZED VIEW few AS SELECT count(*) AS n FROM s;
         INSERT INTO s SELECT i FROM generate_series(1, 100000) AS g(i)",
    )
    .await;
    assert_eq!(server::value(&client, "SELECT count(*) FROM many").await, "100000");
    server.kill();
    let server = start("8MiB");
    let client = server.connect().await;
    let state = "SELECT state, error LIKE '%53200%' FROM tidemill.queries WHERE name = 'many'";
    server::eventually(&client, state, "failed|t").await;
    assert_eq!(server::value(&client, "SELECT n FROM few").await, "100000");
    server::run(&client, "INSERT INTO s VALUES (0)").await;
    server.kill();
    let server = start("1GiB");
    let client = server.connect().await;
    assert_eq!(server::value(&client, "SELECT count(*) FROM many").await, "100001");
    assert_eq!(server::value(&client, "SELECT n FROM few").await, "100001");
    // RESUME takes it up as soon as there is room, and what stands on it.
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW on_many AS SELECT count(*) AS n FROM many;
         CREATE TABLE large (v TEXT);
         INSERT INTO large SELECT repeat('y', 1000000) FROM generate_series(1, 56) AS g(i)",
    )
    .await;
    assert_eq!(server::value(&client, "SELECT n FROM on_many").await, "100001");
    server.kill();
    let server = start("64MiB");
    let client = server.connect().await;
    server::eventually(&client, state, "failed|t").await;
    let error = client.simple_query("SELECT n FROM on_many").await.expect_err("it is not there");
    assert_eq!(server::state(&error), "55000", "{}", server::describe(&error));
    server::run(&client, "ALTER MATERIALIZED VIEW many RESUME").await;
    server::eventually(&client, state, "failed|t").await;
    server::run(&client, "DROP TABLE large; ALTER MATERIALIZED VIEW many RESUME").await;
    assert_eq!(server::value(&client, "SELECT n FROM on_many").await, "100001");
}
