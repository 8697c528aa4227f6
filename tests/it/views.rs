//! Views while other things happen to them and around them: PAUSE and RESUME, views on views,
//! restarts, cancelled statements.
//!
//! The rule behind all of it: a view equals its query, whoever was paused, restarted or still
//! catching up meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;

use crate::server::{self, Server};

/// A condition on k that takes some milliseconds a row.
const SLOW: &str = "levenshtein(repeat(k::text, 200), repeat('abcd', 500)) > 5";

#[tokio::test(flavor = "multi_thread")]
async fn views_on_an_idle_stream_are_resumed_and_go_on() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM p (v INT)",
        "CREATE MATERIALIZED VIEW a AS SELECT v FROM p",
        "CREATE MATERIALIZED VIEW b AS SELECT v FROM p",
        "INSERT INTO p VALUES (1), (2)",
        "ALTER MATERIALIZED VIEW a PAUSE",
        "ALTER MATERIALIZED VIEW b PAUSE",
        "ALTER MATERIALIZED VIEW a RESUME",
        "ALTER MATERIALIZED VIEW b RESUME",
    ] {
        server::run(&client, sql).await;
    }
    assert_eq!(server::value(&client, "SELECT sum(v) FROM a").await, "3");
    server::run(&client, "INSERT INTO p VALUES (4)").await;
    assert_eq!(
        server::value(&client, "SELECT (SELECT sum(v) FROM a) + (SELECT sum(v) FROM b)").await,
        "14"
    );
}

/// What the base had no time to read is not waited for: it will not read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_on_a_view_that_is_paused_right_behind_a_write_answers() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM r (v INT)",
        "CREATE MATERIALIZED VIEW ra AS SELECT v FROM r",
        "CREATE MATERIALIZED VIEW rb AS SELECT v FROM ra",
        "SET statement_timeout = '20s'",
    ] {
        server::run(&client, sql).await;
    }
    let count = "SELECT (SELECT count(*) FROM rb) - (SELECT count(*) FROM ra)";
    for _ in 0..20 {
        server::run(&client, "INSERT INTO r VALUES (1)").await;
        server::run(&client, "ALTER MATERIALIZED VIEW ra PAUSE").await;
        assert_eq!(server::value(&client, count).await, "0");
        server::run(&client, "ALTER MATERIALIZED VIEW ra RESUME").await;
    }
    assert_eq!(server::value(&client, "SELECT count(*) FROM rb").await, "20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_on_a_view_counts_once_while_others_catch_up_and_are_resumed() {
    let server = Arc::new(Server::ephemeral());
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM s (v BIGINT)",
        "CREATE MATERIALIZED VIEW va AS SELECT v FROM s",
        "CREATE MATERIALIZED VIEW vb AS SELECT v FROM va",
        "CREATE SOURCE bid WITH (connector = 'nexmark', \"table\" = 'bid', events = '300000')",
    ] {
        server::run(&client, sql).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let client = server.connect().await;
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    server::run(&client, "INSERT INTO s VALUES (1)").await;
                    written += 1;
                }
                written
            })
        })
        .collect();
    // Epochs of views that catch up get their numbers beside those of the loop.
    for round in 0..6 {
        let name = format!("busy{round}");
        let sql = format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT auction FROM bid WHERE price % 7 = {round}"
        );
        server::run(&client, &sql).await;
        server::run(&client, "ALTER MATERIALIZED VIEW va PAUSE").await;
        server::run(&client, "ALTER MATERIALIZED VIEW va RESUME").await;
        server::value(&client, &format!("SELECT count(*) FROM {name}")).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("a writer only ends");
    }
    let counts =
        "SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM va), (SELECT count(*) FROM vb)";
    assert_eq!(server::lines(&client, counts).await, [format!("{written}|{written}|{written}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_on_views_are_the_same_after_a_restart_in_which_a_base_was_written() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM g (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts)",
        "CREATE MATERIALIZED VIEW ga AS SELECT window_start, k, count(*) AS n \
         FROM TUMBLE(g, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, k EMIT ON WINDOW CLOSE",
        "CREATE MATERIALIZED VIEW gb AS SELECT k, n FROM ga",
        "CREATE MATERIALIZED VIEW gc AS SELECT k, n FROM gb",
        "INSERT INTO g SELECT i, TIMESTAMP '2026-01-01 00:10:00' FROM generate_series(1, 10) AS t(i)",
        "INSERT INTO g VALUES (0, '2026-01-01 01:00:00')",
    ] {
        server::run(&client, sql).await;
    }
    // Much state, no answer: the base is written for the state's sake.
    for round in 0..6 {
        let sql = format!(
            "INSERT INTO g SELECT i, TIMESTAMP '2026-01-01 01:10:00' FROM generate_series({}, {}) AS t(i)",
            round * 80_000,
            round * 80_000 + 79_999
        );
        server::run(&client, &sql).await;
        server::value(&client, "SELECT count(*) FROM gc").await;
    }
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    let counts =
        "SELECT (SELECT count(*) FROM ga), (SELECT count(*) FROM gb), (SELECT count(*) FROM gc)";
    assert_eq!(server::lines(&client, counts).await, ["10|10|10"]);
    server::run(&client, "SELECT advance_watermark('g', 'infinity')").await;
    let same =
        "SELECT (SELECT count(*) FROM ga) = (SELECT count(*) FROM gc), (SELECT sum(n) FROM gc)";
    assert_eq!(server::lines(&client, same).await, ["t|480011"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_a_view_gets_each_change_when_it_is_published() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM w (v INT)").await;
    for view in 0..12 {
        server::run(&client, &format!("CREATE MATERIALIZED VIEW w{view} AS SELECT v FROM w")).await;
    }
    let reader = server.connect().await;
    let rows = reader.query_raw("SELECT v FROM w11 EMIT CHANGES LIMIT 20", Vec::<i32>::new());
    let mut rows = std::pin::pin!(rows.await.expect("the query starts"));
    for v in 0..20 {
        server::run(&client, &format!("INSERT INTO w VALUES ({v})")).await;
        // Nothing is written meanwhile: nothing else can wake the reader.
        let row = tokio::time::timeout(std::time::Duration::from_secs(20), rows.next()).await;
        let row = row.expect("the row arrives by itself").expect("a row").expect("no error");
        assert_eq!(row.get::<_, i32>(0), v);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drop_leaves_everything_as_it_was() {
    let server = Server::ephemeral();
    let (writer, dropper) = (server.connect().await, server.connect().await);
    for sql in [
        "CREATE TABLE dt (k INT PRIMARY KEY)",
        "CREATE STREAM ds (k INT)",
        "CREATE MATERIALIZED VIEW dv AS SELECT ds.k FROM ds JOIN dt ON ds.k = dt.k",
        "INSERT INTO dt VALUES (1)",
        "BEGIN; INSERT INTO dt VALUES (2)",
    ] {
        server::run(&writer, sql).await;
    }
    server::run(&dropper, "SET statement_timeout = '300ms'").await;
    assert!(server::failure(&dropper, "DROP TABLE dt CASCADE").await.starts_with("57014"));
    server::run(&writer, "COMMIT").await;
    server::run(&writer, "INSERT INTO ds VALUES (1), (2), (3)").await;
    assert_eq!(server::value(&writer, "SELECT count(*) FROM dv").await, "2");
    server::run(&dropper, "RESET statement_timeout; DROP TABLE dt CASCADE").await;
    assert!(server::failure(&writer, "SELECT * FROM dv").await.starts_with("42P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_that_a_write_was_cancelled_finds_nothing_written() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM c (v INT); SET statement_timeout = '1ms'").await;
    let mut written = 0;
    for v in 0..400 {
        match client.batch_execute(&format!("INSERT INTO c VALUES ({v})")).await {
            Ok(()) => written += 1,
            Err(error) => assert_eq!(server::state(&error), "57014"),
        }
    }
    // On a busy machine a millisecond is too short for this as well.
    let mut tries = 0..1_000;
    while let Err(error) = client.batch_execute("SET statement_timeout = 0").await {
        assert_eq!(server::state(&error), "57014");
        assert!(tries.next().is_some(), "SET is cancelled again and again");
    }
    assert_eq!(server::value(&client, "SELECT count(*) FROM c").await, written.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_catches_up_for_long_is_seen_paused_and_dropped_and_holds_nobody_up() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    for sql in [
        "CREATE SOURCE endless WITH (connector = 'nexmark', \"table\" = 'bid', events = '2000000000')",
        "CREATE MATERIALIZED VIEW big AS SELECT count(*) AS n FROM endless",
        "CREATE STREAM small (v INT)",
        "CREATE MATERIALIZED VIEW other AS SELECT v FROM small",
        "INSERT INTO small VALUES (1)",
    ] {
        server::run(&client, sql).await;
    }
    let state = "SELECT state FROM tidemill.queries WHERE name = 'big'";
    assert_eq!(server::value(&client, state).await, "catching up");
    assert_eq!(server::value(&client, "SELECT v FROM other").await, "1");
    server::run(&client, "ALTER MATERIALIZED VIEW big PAUSE").await;
    assert_eq!(server::value(&client, state).await, "paused");
    server::run(&client, "ALTER MATERIALIZED VIEW big RESUME").await;
    server::eventually(&client, state, "catching up").await;
    server::run(&client, "DROP MATERIALIZED VIEW big").await;
    server::run(&client, "CREATE MATERIALIZED VIEW big AS SELECT v FROM small").await;
    assert_eq!(server::value(&client, "SELECT v FROM big").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_many_windows_that_catches_up_is_dropped_at_once_and_holds_up_no_definition() {
    let server = Server::ephemeral();
    let (client, other) = (server.connect().await, server.connect().await);
    // Each row is in 20,000 windows, and all of them are one commit: some minutes of work.
    for sql in [
        "CREATE STREAM ev (ts TIMESTAMP, WATERMARK FOR ts)",
        "INSERT INTO ev SELECT to_timestamp_seconds(1600000000 + i / 32)::timestamp \
         FROM generate_series(0, 9999) AS g(i)",
        "CREATE MATERIALIZED VIEW many AS SELECT window_start, count(*) AS n \
         FROM HOP(ev, ts, INTERVAL '1 second', INTERVAL '20000 seconds') \
         GROUP BY window_start, window_end",
    ] {
        server::run(&client, sql).await;
    }
    for session in [&client, &other] {
        server::run(session, "SET statement_timeout = '20s'").await;
    }
    // This waits a little for a view that has just begun, so by now it computes.
    let state = "SELECT state FROM tidemill.queries WHERE name = 'many'";
    assert_eq!(server::value(&client, state).await, "catching up");
    tokio::join!(
        server::run(&client, "DROP MATERIALIZED VIEW many"),
        server::run(&other, "CREATE TABLE beside (k INT PRIMARY KEY)")
    );
    assert_eq!(server::value(&client, "SELECT count(*) FROM tidemill.queries").await, "0");
    server::run(&other, "INSERT INTO beside VALUES (1)").await;
    server::run(&client, "DROP STREAM ev").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_resumes_after_the_epoch_it_names() {
    let server = Server::ephemeral();
    let (client, reader) = (server.connect().await, server.connect().await);
    server::run(&client, "CREATE STREAM e (v INT)").await;
    server::run(&client, "CREATE MATERIALIZED VIEW ev AS SELECT v FROM e").await;
    server::run(&client, "INSERT INTO e VALUES (0)").await;
    server::run(&reader, "BEGIN; DECLARE c CURSOR FOR SUBSCRIBE ev WITH (SNAPSHOT = false)").await;
    for v in 1..=3 {
        server::run(&client, &format!("INSERT INTO e VALUES ({v})")).await;
        server::value(&client, "SELECT count(*) FROM ev").await;
    }
    let seen = server::lines(&reader, "FETCH 3 FROM c").await;
    let epochs: Vec<&str> = seen.iter().filter_map(|line| line.split('|').next()).collect();
    let resume = format!("DECLARE d CURSOR FOR SUBSCRIBE ev AS OF EPOCH {}", epochs[0]);
    server::run(&reader, &resume).await;
    assert_eq!(server::lines(&reader, "FETCH 2 FROM d").await, seen[1..]);
    assert!(server::lines(&reader, "FETCH ALL FROM d WITH (timeout = '50 ms')").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emitted_rows_of_ten_thousand_groups_take_after_a_restart_what_they_took_before() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM s (k INT, v INT)",
        "CREATE TABLE t (id INT PRIMARY KEY, name TEXT)",
        "INSERT INTO t SELECT i, 'n' || i FROM generate_series(0, 9) AS g(i)",
        "CREATE MATERIALIZED VIEW v AS SELECT g.k, g.n, t.name \
         FROM (SELECT k, count(*) AS n FROM s GROUP BY k) g JOIN t ON t.id = g.k % 10",
        "INSERT INTO s SELECT i, i FROM generate_series(0, 9999) AS g(i)",
    ] {
        server::run(&client, sql).await;
    }
    let count = "SELECT count(*), count(DISTINCT name) FROM v";
    assert_eq!(server::lines(&client, count).await, ["10000|10"]);
    let bytes = "SELECT state_bytes FROM tidemill.queries WHERE name = 'v'";
    let before: u64 = server::value(&client, bytes).await.parse().expect("a number");
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    assert_eq!(server::lines(&client, count).await, ["10000|10"]);
    let after: u64 = server::value(&client, bytes).await.parse().expect("a number");
    assert!(after < 2 * before, "{before} bytes before the restart, {after} after it");
    // What was emitted before is taken back as it was.
    server::run(&client, "UPDATE t SET name = 'new'").await;
    server::run(&client, "INSERT INTO s SELECT i, i FROM generate_series(0, 4999) AS g(i)").await;
    let sums = "SELECT sum(n), count(*), count(*) FILTER (WHERE name = 'new') FROM v";
    assert_eq!(server::lines(&client, sums).await, ["15000|10000|5000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_are_counted_on_after_a_restart() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (v INT, ts TIMESTAMP, WATERMARK FOR ts);
         CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n
           FROM TUMBLE(s, ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
         INSERT INTO s SELECT i, NULL FROM generate_series(1, 5) AS i",
    )
    .await;
    let rejected = "SELECT rejected_rows FROM tidemill.queries WHERE name = 'v'";
    server::eventually(&client, rejected, "5").await;
    server.terminate();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "INSERT INTO s SELECT i, NULL FROM generate_series(1, 3) AS i").await;
    server::eventually(&client, rejected, "8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_takes_long_holds_up_no_other_and_is_paused_and_dropped_at_once() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    // Some milliseconds a row, so a minute or more for what is written below.
    server::run(
        &client,
        &format!(
            "CREATE STREAM small (k INT); CREATE STREAM big (k INT); SET statement_timeout = '20s';
             CREATE MATERIALIZED VIEW quick AS SELECT count(*) AS n FROM small;
             CREATE MATERIALIZED VIEW slow AS SELECT count(*) AS n FROM big WHERE {SLOW};
             INSERT INTO big VALUES (1); INSERT INTO small VALUES (1)"
        ),
    )
    .await;
    assert_eq!(server::lines(&client, "SELECT quick.n, slow.n FROM quick, slow").await, ["1|1"]);
    server::run(&client, "INSERT INTO big SELECT i FROM generate_series(1, 20000) AS g(i)").await;
    let figures = "SELECT name, state, rows_in FROM tidemill.queries ORDER BY name";
    for n in 2..6 {
        server::run(&client, "INSERT INTO small VALUES (1)").await;
        assert_eq!(server::lines(&client, "SELECT n FROM quick").await, [n.to_string()]);
        let expected = [format!("quick|running|{n}"), "slow|running|1".to_owned()];
        assert_eq!(server::lines(&client, figures).await, expected);
    }
    server::run(&client, "ALTER MATERIALIZED VIEW slow PAUSE").await;
    assert_eq!(server::lines(&client, "SELECT n FROM slow").await, ["1"]);
    assert_eq!(server::lines(&client, "SELECT quick.n, slow.n FROM quick, slow").await, ["5|1"]);
    server::run(&client, "ALTER MATERIALIZED VIEW slow RESUME").await;
    server::run(&client, "DROP MATERIALIZED VIEW slow").await;
    server::run(&client, "INSERT INTO small VALUES (1)").await;
    assert_eq!(server::lines(&client, "SELECT n FROM quick").await, ["6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_faster_than_a_view_reads_is_held_back_and_the_figures_say_why() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(
        &client,
        &format!(
            "CREATE STREAM big (k INT) WITH (max_lag = '300 ms'); CREATE STREAM other (k INT);
             CREATE MATERIALIZED VIEW slow AS SELECT count(*) AS n FROM big WHERE {SLOW}"
        ),
    )
    .await;
    let create = server::lines(&client, "SHOW CREATE STREAM big").await.join("\n");
    assert!(create.contains("max_lag = '"), "{create}");
    assert_eq!(server::lines(&client, "SELECT n FROM slow").await, ["0"]);
    server::run(&client, "INSERT INTO big SELECT i FROM generate_series(1, 20000) AS g(i)").await;
    server::run(&client, "SET statement_timeout = '2s'").await;
    let mut written = 20_000;
    let refused = loop {
        match client.batch_execute("INSERT INTO big VALUES (0)").await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 30_000, "nobody was held back");
    };
    assert_eq!(server::state(&refused), "57014");
    // Nothing of it was written, and who writes elsewhere does not wait.
    assert_eq!(server::lines(&client, "SELECT count(*) FROM big").await, [written.to_string()]);
    server::run(&client, "INSERT INTO other VALUES (1)").await;
    let behind = "SELECT state, behind_ms > 300 FROM tidemill.queries";
    assert_eq!(server::lines(&client, behind).await, ["running|t"]);
    // What others have written is waited for a while, and what one has written oneself to the end.
    let reader = server.connect().await;
    assert_eq!(server::lines(&reader, "SELECT n FROM slow").await, ["0"]);
    server::run(&client, "DROP MATERIALIZED VIEW slow; INSERT INTO big VALUES (0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_sees_a_view_that_trails_and_one_that_does_not_as_of_one_commit() {
    let server = Server::ephemeral();
    let (client, writer) = (server.connect().await, server.connect().await);
    let slow = "levenshtein(repeat(k::text, 100), repeat('abcd', 200)) >= 0";
    server::run(
        &client,
        &format!(
            "CREATE STREAM s (k INT) WITH (max_lag = '200 ms');
             CREATE MATERIALIZED VIEW quick AS SELECT count(*) AS n FROM s;
             CREATE MATERIALIZED VIEW slow AS SELECT count(*) AS n FROM s WHERE {slow}"
        ),
    )
    .await;
    assert_eq!(server::lines(&client, "SELECT quick.n, slow.n FROM quick, slow").await, ["0|0"]);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut written = 0;
        while stopped.try_recv().is_err() {
            server::run(&writer, "INSERT INTO s SELECT i FROM generate_series(1, 100) AS g(i)")
                .await;
            written += 100;
        }
        written
    });
    for _ in 0..20 {
        let both = server::lines(&client, "SELECT quick.n = slow.n FROM quick, slow").await;
        assert_eq!(both, ["t"], "{:?}", server::lines(&client, "SELECT * FROM quick, slow").await);
    }
    // One that runs and follows a view that trails comes to no commit of its own accord: nobody
    // waits for that.
    server::run(&client, "CREATE MATERIALIZED VIEW upon AS SELECT n FROM slow").await;
    for _ in 0..5 {
        assert_eq!(server::lines(&client, "SELECT count(*) FROM quick, slow, upon").await, ["1"]);
    }
    stop.send(()).expect("it still writes");
    let written: i32 = writing.await.expect("the writer");
    server::eventually(&client, "SELECT n FROM slow", &written.to_string()).await;
    server::eventually(&client, "SELECT n FROM upon", &written.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_a_view_is_told_what_is_kept_for_it() {
    let server = server::shared();
    let client = server.connect().await;
    let s = server::unique("s");
    server::run(
        &client,
        &format!(
            "CREATE STREAM {s} (k INT) WITH (retention = '1 hour');
             CREATE MATERIALIZED VIEW {s}_low AS SELECT k, count(*) AS n FROM {s} GROUP BY k;
             CREATE VIEW {s}_plain AS SELECT n FROM {s}_low;
             CREATE MATERIALIZED VIEW {s}_high AS SELECT max(n) AS n FROM {s}_plain"
        ),
    )
    .await;
    for (view, kept) in [("high", "changes of \"@_low\""), ("low", "rows of \"@\"")] {
        let pause = format!("ALTER MATERIALIZED VIEW {s}_{view} PAUSE");
        let told = server.psql(&["-c", &pause]).stderr;
        let expected = kept.replace('@', &s);
        assert!(
            told.contains(&format!(
                "NOTICE:  {expected} are kept until \"{s}_{view}\" has read them"
            )),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_constants_is_the_same_after_a_kill_and_told_once() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "CREATE MATERIALIZED VIEW c AS VALUES (1, 'a'), (2, 'b')").await;
    assert_eq!(server::value(&client, "SELECT count(*) FROM c").await, "2");
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "BEGIN; DECLARE d CURSOR FOR SUBSCRIBE c").await;
    assert_eq!(server::lines(&client, "FETCH 2 FROM d").await.len(), 2);
    let more = server::lines(&client, "FETCH ALL FROM d WITH (timeout = '50 ms')").await;
    assert!(more.is_empty(), "{more:?}");
}
