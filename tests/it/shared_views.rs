//! Views with one query: kills, subscribers and slow readers while one of them goes its own way.

use crate::server::{self, Server};

const SAME: &str = "AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k";

/// The rows of a view, and what its query gives now.
async fn is_its_query(client: &tokio_postgres::Client, view: &str) {
    let query = SAME.trim_start_matches("AS ");
    let sql =
        format!("(TABLE {view} EXCEPT ALL {query}) UNION ALL ({query} EXCEPT ALL TABLE {view})");
    assert!(server::lines(client, &sql).await.is_empty(), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_with_one_query_part_and_are_there_after_each_kill() {
    let dir = server::directory();
    let mut server = Server::durable(dir.path());
    let mut client = server.connect().await;
    server::run(&client, "CREATE STREAM s (k INT, v BIGINT)").await;
    for view in ["a", "b", "c", "d"] {
        server::run(&client, &format!("CREATE MATERIALIZED VIEW {view} {SAME}")).await;
    }
    server::run(&client, "CREATE MATERIALIZED VIEW on_c AS SELECT sum(n) AS n FROM c").await;
    let rows = "INSERT INTO s SELECT i % 1000, i FROM generate_series(1, 5000) AS g(i)";
    server::run(&client, rows).await;
    let shown = server::lines(&client, "EXPLAIN MATERIALIZED VIEW b").await.join("\n");
    assert!(shown.contains("Shared with: a, c, d"), "{shown}");
    // Each step is followed by a kill: what it has left in the store is all there is.
    for step in [
        "DROP MATERIALIZED VIEW a",
        "ALTER MATERIALIZED VIEW c PAUSE",
        "ALTER MATERIALIZED VIEW b PAUSE",
        "ALTER MATERIALIZED VIEW c RESUME; ALTER MATERIALIZED VIEW b RESUME",
    ] {
        server::run(&client, step).await;
        server.kill();
        server = Server::durable(dir.path());
        client = server.connect().await;
        server::run(&client, rows).await;
        is_its_query(&client, "d").await;
    }
    for view in ["b", "c"] {
        is_its_query(&client, view).await;
    }
    assert_eq!(server::value(&client, "SELECT n FROM on_c").await, "25000");
    server::run(&client, "DROP MATERIALIZED VIEW d").await;
    server::run(&client, rows).await;
    is_its_query(&client, "b").await;
    // What has parted is no longer shared, and what is new joins one of them.
    server::run(&client, &format!("CREATE MATERIALIZED VIEW a {SAME}")).await;
    let shown = server::lines(&client, "EXPLAIN MATERIALIZED VIEW a").await.join("\n");
    assert!(shown.contains("Shared with: b\n"), "{shown}");
    is_its_query(&client, "a").await;
    assert_eq!(server::value(&client, "SELECT n FROM on_c").await, "30000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_follows_its_own_view_and_no_other_that_has_its_query() {
    let server = Server::ephemeral();
    let (client, on_a, on_b) =
        (server.connect().await, server.connect().await, server.connect().await);
    server::run(&client, "CREATE STREAM s (k INT, v BIGINT)").await;
    for view in ["a", "b", "c"] {
        server::run(&client, &format!("CREATE MATERIALIZED VIEW {view} {SAME}")).await;
    }
    for (reader, view) in [(&on_a, "a"), (&on_b, "b")] {
        let declare = format!("BEGIN; DECLARE d CURSOR FOR SUBSCRIBE {view}");
        server::run(reader, &declare).await;
    }
    server::run(&client, "INSERT INTO s VALUES (1, 10)").await;
    assert_eq!(server::lines(&on_a, "FETCH 1 FROM d").await.len(), 1);
    assert_eq!(server::lines(&on_b, "FETCH 1 FROM d").await.len(), 1);
    server::run(&client, "ALTER MATERIALIZED VIEW b PAUSE").await;
    server::run(&client, "INSERT INTO s VALUES (1, 20), (2, 5)").await;
    assert_eq!(server::lines(&on_a, "FETCH 3 FROM d").await.len(), 3);
    let none = "FETCH ALL FROM d WITH (timeout = '100 ms')";
    assert!(server::lines(&on_b, none).await.is_empty());
    server::run(&client, "ALTER MATERIALIZED VIEW b RESUME").await;
    assert_eq!(server::lines(&on_b, "FETCH 3 FROM d").await.len(), 3);
    server::run(&client, "DROP MATERIALIZED VIEW a").await;
    let told = server::failure(&on_a, "FETCH 1 FROM d").await;
    assert_eq!(told, "42P01");
    server::run(&client, "INSERT INTO s VALUES (2, 6)").await;
    assert_eq!(server::lines(&on_b, "FETCH 2 FROM d").await.len(), 2);
    is_its_query(&client, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_answer_otherwise_if_it_began_now_is_not_shared() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM s (k INT, v BIGINT)",
        "CREATE TABLE t (k INT PRIMARY KEY, name TEXT)",
        "CREATE FUNCTION twice(a INT) RETURNS INT RETURN 2 * a",
        "CREATE VIEW plain AS SELECT twice(k) AS k FROM s",
        "CREATE VIEW simple AS SELECT k FROM s",
    ] {
        server::run(&client, sql).await;
    }
    for (query, shared) in [
        ("SELECT twice(k) AS k FROM s", false),
        ("SELECT k FROM plain", false),
        ("SELECT k FROM simple", true),
        ("SELECT s.k, t.name FROM s JOIN t ON s.k = t.k", false),
        ("SELECT k, now() AS at FROM s", false),
        ("SELECT k, name FROM t", true),
    ] {
        for view in ["x", "y"] {
            let create = format!("CREATE MATERIALIZED VIEW {view} AS {query}");
            server::run(&client, &create).await;
        }
        let shown = server::lines(&client, "EXPLAIN MATERIALIZED VIEW y").await.join("\n");
        assert_eq!(shown.contains("Shared with: x"), shared, "{query}\n{shown}");
        server::run(&client, "DROP MATERIALIZED VIEW x, y").await;
    }
}
