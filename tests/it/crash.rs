//! kill -9, twenty times, while sessions write: what was acknowledged is there once, in the stream
//! and in every view.
//!
//! Each statement writes all its rows with an id of its own, so that a statement done by half, or
//! done twice, shows. The watermark's delay is so long that no row is late: then every view must
//! equal its query over the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::server::{self, Server};

const KILLS: u64 = 20;
const WRITERS: u64 = 4;
/// Rows of one INSERT; a transaction has two INSERTs.
const ROWS: u64 = 5;

const TUMBLE: &str = "SELECT window_start, window_end, count(*) AS n, sum(row) AS s \
    FROM TUMBLE(crashes, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end";
const HOP: &str = "SELECT window_start, window_end, writer, count(*) AS n \
    FROM HOP(crashes, ts, INTERVAL '4 seconds', INTERVAL '10 seconds') GROUP BY window_start, window_end, writer";
const RUNNING: &str =
    "SELECT writer, count(*) AS n, count(DISTINCT statement) AS d FROM crashes GROUP BY writer";

#[tokio::test(flavor = "multi_thread")]
async fn twenty_crashes_lose_nothing_and_count_nothing_twice() {
    let dir = server::directory();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let next = Arc::new(AtomicU64::new(0));
    let mut server = Arc::new(Server::durable(dir.path()));
    define(&server.connect().await).await;
    for round in 0..KILLS {
        let writers = write(&server, &acknowledged, &next);
        // Also while the first statements are on their way, and also in the middle of many epochs.
        tokio::time::sleep(Duration::from_millis(30 + round * 37 % 400)).await;
        server.kill();
        writers.stop().await;
        server = Arc::new(Server::durable(dir.path()));
        let so_far = acknowledged.lock().unwrap().clone();
        check(&server.connect().await, &so_far, round).await;
    }
    let client = server.connect().await;
    server::run(&client, "SELECT advance_watermark('crashes', 'infinity')").await;
    same(&client, "closed", TUMBLE).await;
    assert!(
        acknowledged.lock().unwrap().len() > KILLS as usize,
        "too few statements came through to show anything"
    );
    let status = server.terminate();
    assert!(status.success(), "after all that, a clean end: {status}");
}

async fn define(client: &Client) {
    server::run(
        client,
        "CREATE STREAM crashes (writer BIGINT, statement BIGINT, row BIGINT, ts TIMESTAMP, \
         WATERMARK FOR ts AS ts - INTERVAL '1 minute')",
    )
    .await;
    for (name, query, emit) in [
        ("closed", TUMBLE, "ON WINDOW CLOSE"),
        ("hops", HOP, "CHANGES"),
        ("running", RUNNING, "CHANGES"),
    ] {
        server::run(client, &format!("CREATE MATERIALIZED VIEW {name} AS {query} EMIT {emit}"))
            .await;
    }
}

struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a writer only ends");
        }
    }
}

/// Starts sessions that write until the server is gone.
fn write(
    server: &Arc<Server>,
    acknowledged: &Arc<Mutex<BTreeSet<u64>>>,
    next: &Arc<AtomicU64>,
) -> Writers {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = (0..WRITERS).map(|writer| {
        let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
        let (acknowledged, next) = (Arc::clone(acknowledged), Arc::clone(next));
        tokio::spawn(async move {
            let Ok(client) = server.try_connect("").await else { return };
            while !stop.load(Ordering::Relaxed) {
                let statement = next.fetch_add(1, Ordering::Relaxed);
                if client.batch_execute(&sql(writer, statement)).await.is_err() {
                    return;
                }
                acknowledged.lock().unwrap().insert(statement);
            }
        })
    });
    let tasks = tasks.collect();
    Writers { stop, tasks }
}

/// Every third statement is a transaction of two INSERTs.
fn sql(writer: u64, statement: u64) -> String {
    let insert = || {
        let rows = (0..ROWS).map(|row| {
            let ms = statement * 50 + row;
            format!("({writer}, {statement}, {row}, TIMESTAMP '2024-01-01' + INTERVAL '{ms} milliseconds')")
        });
        format!("INSERT INTO crashes VALUES {}", rows.collect::<Vec<_>>().join(", "))
    };
    if is_transaction(statement) {
        format!("BEGIN; {}; {}; COMMIT", insert(), insert())
    } else {
        insert()
    }
}

fn is_transaction(statement: u64) -> bool {
    statement.is_multiple_of(3)
}

async fn check(client: &Client, acknowledged: &BTreeSet<u64>, round: u64) {
    let found =
        server::lines(client, "SELECT statement, count(*) FROM crashes GROUP BY statement").await;
    let found: BTreeMap<u64, u64> = found
        .iter()
        .map(|line| {
            let (statement, count) = line.split_once('|').expect("two columns");
            (statement.parse().expect("a number"), count.parse().expect("a number"))
        })
        .collect();
    for statement in acknowledged {
        assert!(
            found.contains_key(statement),
            "round {round}: acknowledged statement {statement} is lost"
        );
    }
    for (statement, count) in &found {
        let whole = if is_transaction(*statement) { 2 * ROWS } else { ROWS };
        assert_eq!(
            *count, whole,
            "round {round}: statement {statement} is there by half, or twice"
        );
    }
    same(client, "hops", HOP).await;
    same(client, "running", RUNNING).await;
    let all: BTreeSet<String> = server::lines(client, TUMBLE).await.into_iter().collect();
    let closed = server::lines(client, "SELECT * FROM closed").await;
    let distinct: BTreeSet<String> = closed.iter().cloned().collect();
    assert_eq!(distinct.len(), closed.len(), "round {round}: a window was emitted twice");
    assert!(
        distinct.is_subset(&all),
        "round {round}: closed windows {:?} are not final",
        distinct.difference(&all)
    );
}

/// The view equals its query, as soon as recovery has caught up.
async fn same(client: &Client, view: &str, query: &str) {
    let begun = Instant::now();
    loop {
        let mut expected = server::lines(client, query).await;
        let mut found = server::lines(client, &format!("SELECT * FROM {view}")).await;
        expected.sort();
        found.sort();
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{view} is\n{found:#?}\nand not\n{expected:#?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_event_time_are_kept_once_through_a_crash() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM untimed (v INT, ts TIMESTAMP, WATERMARK FOR ts);
         CREATE MATERIALIZED VIEW minutes AS SELECT window_start, count(*) AS n \
             FROM TUMBLE(untimed, ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
         INSERT INTO untimed VALUES (1, '2024-01-01 00:00:01'), (2, NULL)",
    )
    .await;
    // Acknowledged, so it is kept: also if no view has read it yet.
    server.kill();
    let kept = "SELECT \"offset\", raw FROM tidemill.rejected_rows ORDER BY 1";
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    let row = |offset: u8, v: u8| {
        let json = format!("{{\"v\":{v},\"ts\":null}}");
        let hex: String = json.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{offset}|\\x{hex}")
    };
    assert_eq!(server::lines(&client, kept).await, [row(1, 2)]);
    server::run(&client, "INSERT INTO untimed VALUES (3, NULL)").await;
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    assert_eq!(server::lines(&client, kept).await, [row(1, 2), row(2, 3)]);
    server::eventually(&client, "SELECT n FROM minutes", "1").await;
    assert_eq!(server::value(&client, "SELECT rejected_rows FROM tidemill.streams").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_finds_everything() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM kept (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second');
         CREATE TABLE names (k TEXT PRIMARY KEY, name TEXT DEFAULT 'nobody');
         CREATE VIEW plain AS SELECT k FROM kept;
         CREATE MATERIALIZED VIEW totals AS SELECT k, sum(v) AS s FROM kept GROUP BY k;
         CREATE MATERIALIZED VIEW minutes AS SELECT window_start, count(*) AS n \
             FROM TUMBLE(kept, ts, INTERVAL '1 minute') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE;
         INSERT INTO names VALUES ('a', 'Ada'), ('b', DEFAULT);
         INSERT INTO kept VALUES ('a', 1, '2024-01-01 00:00:01'), ('b', 2, '2024-01-01 00:01:30')",
    )
    .await;
    let status = server.terminate();
    assert!(status.success(), "{status}");
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    assert_eq!(
        server::lines(&client, "SELECT * FROM names ORDER BY k").await,
        ["a|Ada", "b|nobody"]
    );
    assert_eq!(server::lines(&client, "SELECT k FROM plain ORDER BY k").await, ["a", "b"]);
    server::eventually(&client, "SELECT k, s FROM totals ORDER BY k", "a|1\nb|2").await;
    server::eventually(&client, "SELECT * FROM minutes", "2024-01-01 00:00:00|1").await;
    // The watermark came back too: what was late before the restart is late after it.
    server::run(&client, "INSERT INTO kept VALUES ('late', 5, '2024-01-01 00:00:02')").await;
    server::run(&client, "SELECT advance_watermark('kept', 'infinity')").await;
    let minutes = "2024-01-01 00:00:00|1\n2024-01-01 00:01:00|1";
    assert_eq!(
        server::lines(&client, "SELECT * FROM minutes ORDER BY 1").await.join("\n"),
        minutes
    );
    assert_eq!(server::value(&client, "SELECT s FROM totals WHERE k = 'late'").await, "5");
}
