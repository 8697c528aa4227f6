//! Damaged data directories: refused by the name of the file, after a clean stop and after kill -9,
//! and gone on with only when that is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{self, BINARY, Psql, Server};

const INSERTS: u64 = 50;
const ROWS: u64 = 100;

/// A directory with a stream, a table and a view over the stream, of a server that was stopped or
/// killed.
async fn filled(dir: &Path, kill: bool) -> PathBuf {
    let data = dir.join(if kill { "killed" } else { "stopped" });
    let server = Server::durable(&data);
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (k BIGINT)").await;
    server::run(&client, "CREATE TABLE t (k BIGINT PRIMARY KEY)").await;
    server::run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s").await;
    server::run(&client, "INSERT INTO t VALUES (1), (2), (3)").await;
    for _ in 0..INSERTS {
        server::run(&client, &format!("INSERT INTO s SELECT * FROM generate_series(1, {ROWS})"))
            .await;
    }
    assert_eq!(server::value(&client, "SELECT n FROM v").await, (INSERTS * ROWS).to_string());
    if kill {
        server.kill();
    } else {
        assert!(server.terminate().success());
    }
    data
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp is there").success());
}

/// Where the journal of a directory ends that is not zeros.
fn end(data: &Path) -> usize {
    let bytes = std::fs::read(data.join("store/0.jnl")).expect("a journal");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn cut(data: &Path, length: usize) {
    let journal =
        std::fs::OpenOptions::new().write(true).open(data.join("store/0.jnl")).expect("a journal");
    journal.set_len(length as u64).expect("cut");
}

fn zero(data: &Path, from: usize) {
    let end = end(data);
    cut(data, from);
    cut(data, end);
}

fn remove(data: &Path, file: &str) {
    std::fs::remove_file(data.join("store").join(file)).expect("removed");
}

type Strike = fn(&Path);

const DAMAGE: [(&str, Strike); 12] = [
    ("0.jnl", |data| cut(data, 0)),
    ("0.jnl", |data| cut(data, 1)),
    ("0.jnl", |data| cut(data, 100)),
    ("0.jnl", |data| cut(data, 1000)),
    ("0.jnl", |data| cut(data, end(data) / 2)),
    ("0.jnl", |data| zero(data, end(data) / 2)),
    ("0.jnl", |data| cut(data, end(data) - 1)),
    ("0.jnl", |data| remove(data, "0.jnl")),
    ("keyspaces/0/current", |data| remove(data, "keyspaces/0/current")),
    ("keyspaces/1/current", |data| remove(data, "keyspaces/1/current")),
    ("keyspaces/2/current", |data| remove(data, "keyspaces/2/current")),
    ("keyspaces/5/current", |data| remove(data, "keyspaces/5/current")),
];

/// A start that is expected to end by itself.
fn start(data: &Path) -> Psql {
    let mut command = Command::new("timeout");
    command.args([
        "60",
        BINARY,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    Psql::from(command.arg(data).stdin(Stdio::null()).output().expect("it runs"))
}

fn accepting(data: &Path) -> Server {
    Server::start(&["--accept-loss", "--data-dir", data.to_str().expect("a path in UTF-8")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_directory_is_refused_and_goes_on_only_with_accept_loss() {
    let dir = server::directory();
    for kill in [false, true] {
        let whole = filled(dir.path(), kill).await;
        for (number, (file, strike)) in DAMAGE.iter().enumerate() {
            let data = whole.with_extension(number.to_string());
            copy(&whole, &data);
            strike(&data);
            let what = format!("damage {number}, {file}, killed: {kill}");
            let refused = start(&data);
            assert_eq!(refused.code, 1, "{what}: {}", refused.stderr);
            assert!(refused.stderr.contains(file), "{what}: {}", refused.stderr);
            assert!(refused.stderr.contains("--accept-loss"), "{what}: {}", refused.stderr);

            let server = accepting(&data);
            let client = server.connect().await;
            if !server::lines(&client, "SELECT name FROM tidemill.streams WHERE name = 's'")
                .await
                .is_empty()
            {
                let rows = server::value(&client, "SELECT count(*) FROM s").await;
                server::run(
                    &client,
                    "CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT count(*) AS n FROM s",
                )
                .await;
                assert_eq!(server::value(&client, "SELECT n FROM v").await, rows, "{what}");
                server::run(&client, "INSERT INTO s VALUES (1)").await;
                let more = rows.parse::<u64>().expect("a number") + 1;
                assert_eq!(
                    server::value(&client, "SELECT n FROM v").await,
                    more.to_string(),
                    "{what}"
                );
            } else {
                server::run(&client, "CREATE STREAM s (k BIGINT)").await;
            }
            server.kill();
            drop(Server::durable(&data));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_rows_are_lost_has_failed_and_can_be_made_anew() {
    let dir = server::directory();
    let data = filled(dir.path(), true).await;
    std::fs::remove_dir_all(data.join("store/keyspaces/5")).expect("removed");
    assert!(start(&data).stderr.contains("the keyspace \"views\" holds is lost"));
    let server = accepting(&data);
    let client = server.connect().await;
    assert_eq!(
        server::value(&client, "SELECT count(*) FROM s").await,
        (INSERTS * ROWS).to_string()
    );
    assert_eq!(server::value(&client, "SELECT count(*) FROM t").await, "3");
    server.kill();
    // It is remembered when it is not asked for again.
    let server = Server::durable(&data);
    let client = server.connect().await;
    let error = server::rows(&client, "SELECT n FROM v").await.expect_err("it has failed");
    assert!(
        server::describe(&error).contains("may have been lost"),
        "{}",
        server::describe(&error)
    );
    server::run(&client, "DROP MATERIALIZED VIEW v").await;
    server::run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s").await;
    assert_eq!(server::value(&client, "SELECT n FROM v").await, (INSERTS * ROWS).to_string());
}

#[test]
fn a_data_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = server::directory();
    let data = dir.path().join("data");
    let server = Server::durable(&data);
    let mode =
        |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["tidemill.format", "tidemill.ledger", "store/0.jnl", "store/keyspaces/2/current"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    drop(server);
}
