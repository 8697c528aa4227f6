//! `--memory-limit` bounds what grows with the data: what is reserved never passes it, and what
//! does not fit is refused alone.

use tokio_postgres::Client;

use crate::server::{self, Server};

fn limited(limit: &str) -> Server {
    Server::start(&["--ephemeral", "--memory-limit", limit])
}

async fn bytes(client: &Client, part: &str) -> u64 {
    let sql = format!("SELECT bytes FROM tidemill.memory WHERE part = '{part}'");
    server::value(client, &sql).await.parse().expect("a number")
}

/// The most that was ever reserved.
async fn peak(client: &Client) -> u64 {
    let sql = "SELECT substring(detail from '([0-9]+) bytes')::bigint FROM tidemill.memory WHERE part = 'reserved'";
    server::value(client, sql).await.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_large_together_are_read_in_portions() {
    let server = limited("64MiB");
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (k INT, v TEXT)").await;
    for k in 0..24 {
        let insert = format!("INSERT INTO s SELECT {k}, repeat('x', {})", (5 << 20) + k);
        server::run(&client, &insert).await;
    }
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n, max(length(v)) AS most FROM s",
    )
    .await;
    let expect = format!("24|{}", (5 << 20) + 23);
    assert_eq!(server::lines(&client, "SELECT * FROM m").await, std::slice::from_ref(&expect));
    assert_eq!(server::lines(&client, "SELECT count(*), max(length(v)) FROM s").await, [expect]);
    assert_eq!(server::lines(&client, "SELECT count(*) FROM s").await, ["24"]);
    assert_eq!(server::lines(&client, "SELECT sum(k) FROM s WHERE k > 20").await, ["66"]);
    assert!(bytes(&client, "log tails").await <= 8 << 20);
    let most = peak(&client).await;
    assert!(most <= 64 << 20, "{most} bytes were reserved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_larger_than_the_epochs_portions_is_seen_whole_or_not_at_all() {
    let server = limited("512MiB");
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (k INT, v TEXT)").await;
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n, max(length(v)) AS most FROM s",
    )
    .await;
    let watcher = server.connect().await;
    server::run(&watcher, "BEGIN; DECLARE c CURSOR FOR SUBSCRIBE m").await;
    let changes = |lines: Vec<String>| {
        let mut changes: Vec<String> = lines
            .iter()
            .filter_map(|line| line.split_once('|'))
            .map(|(_, change)| change.to_owned())
            .collect();
        changes.sort();
        changes
    };
    assert_eq!(changes(server::lines(&watcher, "FETCH 1 FROM c").await), ["1|0|NULL"]);
    let insert =
        format!("INSERT INTO s SELECT i, repeat('x', {}) FROM generate_series(1, 40) i", 1 << 20);
    server::run(&client, &format!("BEGIN; {insert}; {insert}; COMMIT")).await;
    let whole = format!("80|{}", 1 << 20);
    assert_eq!(server::lines(&client, "SELECT * FROM m").await, std::slice::from_ref(&whole));
    let expect = ["-1|0|NULL".to_owned(), format!("1|{whole}")];
    assert_eq!(changes(server::lines(&watcher, "FETCH 2 FROM c").await), expect);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_blocks_of_many_streams_have_one_budget() {
    let server = limited("64MiB");
    let client = server.connect().await;
    for n in 0..12 {
        server::run(&client, &format!("CREATE STREAM s{n} (v TEXT)")).await;
        let insert =
            format!("INSERT INTO s{n} SELECT repeat('x', 1000) FROM generate_series(1, 4000)");
        server::run(&client, &insert).await;
    }
    assert!(bytes(&client, "log tails").await <= 8 << 20);
    assert!(bytes(&client, "reserved").await <= 64 << 20);
    for n in 0..12 {
        let sql = format!("SELECT count(*), min(length(v)) FROM s{n}");
        assert_eq!(server::lines(&client, &sql).await, ["4000|1000"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_tables_and_of_paused_views_are_counted() {
    let server = limited("64MiB");
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT);
         INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i;
         CREATE STREAM s (k INT, v TEXT);
         INSERT INTO s SELECT i, repeat('y', 1000) FROM generate_series(1, 5000) i;
         CREATE MATERIALIZED VIEW m AS SELECT k, v FROM s",
    )
    .await;
    assert_eq!(server::lines(&client, "SELECT count(*) FROM m").await, ["5000"]);
    assert!(bytes(&client, "table rows").await > 5_000_000);
    assert!(bytes(&client, "view rows").await >= 5_000_000);
    server::run(&client, "ALTER MATERIALIZED VIEW m PAUSE").await;
    assert!(bytes(&client, "view rows").await >= 5_000_000);
    server::run(&client, "ALTER MATERIALIZED VIEW m RESUME").await;
    assert_eq!(server::lines(&client, "SELECT count(*) FROM m").await, ["5000"]);
    assert!(bytes(&client, "view rows").await >= 5_000_000);
    let insert = "INSERT INTO t SELECT i, repeat('x', 2000) FROM generate_series(10000, 50000) i";
    assert_eq!(server::failure(&client, insert).await, "53200");
    server::run(&client, "DROP MATERIALIZED VIEW m; TRUNCATE t").await;
    assert_eq!(bytes(&client, "view rows").await, 0);
    assert!(bytes(&client, "table rows").await < 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sessions_hold_is_counted_and_refused_where_it_does_not_fit() {
    let server = limited("32MiB");
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (v TEXT)").await;
    let large = format!("SELECT length('{}')", "x".repeat(12 << 20));
    let other = server.connect().await;
    assert_eq!(server::failure(&other, &large).await, "53200");
    assert_eq!(server::value(&other, "SELECT 1").await, "1", "the connection goes on");
    assert_eq!(bytes(&client, "messages").await, 0);

    server::run(&other, "BEGIN").await;
    let insert = "INSERT INTO s SELECT repeat('x', 1000000) FROM generate_series(1, 5)";
    let mut inserted = 0;
    let refused = loop {
        match other.batch_execute(insert).await {
            Ok(()) => inserted += 5,
            Err(error) => break error,
        }
        assert!(inserted < 40, "{inserted} MB of 32 MiB");
        assert!(bytes(&client, "transactions").await >= inserted * 1_000_000);
    };
    let said = server::describe(&refused);
    assert!(
        said.starts_with("[53200]") && said.contains("HINT: Write in several smaller transactions"),
        "{said}"
    );
    server::run(&other, "ROLLBACK").await;
    assert_eq!(bytes(&client, "transactions").await, 0);
    assert_eq!(server::value(&other, "SELECT count(*) FROM s").await, "0");
}
