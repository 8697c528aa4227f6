//! Functions and aggregates of the user's through a crash: they and the views that call them come back.

use crate::server::{self, Server};

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_the_views_that_call_them_survive_kill_9() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    for sql in [
        "CREATE FUNCTION gone(a INT) RETURNS INT RETURN a",
        "CREATE FUNCTION parity(v INT) RETURNS TEXT STRICT \
         AS $$ SELECT CASE WHEN v % 2 = 0 THEN 'even' ELSE 'odd' END $$",
        "CREATE FUNCTION doubled(v INT) RETURNS INT AS 'SELECT v + v'",
        "CREATE FUNCTION doubled(t TEXT) RETURNS TEXT RETURN t || t",
        "CREATE FUNCTION product_step(a BIGINT, b BIGINT) RETURNS BIGINT STRICT RETURN a * b",
        "CREATE FUNCTION list_step(a TEXT, b TEXT) RETURNS TEXT STRICT RETURN a || b",
        "CREATE AGGREGATE product(BIGINT) (SFUNC = product_step, STYPE = BIGINT, \
         COMBINEFUNC = product_step)",
        "CREATE AGGREGATE listed(TEXT) (SFUNC = list_step, STYPE = TEXT)",
        "CREATE STREAM f (v INT, d INT GENERATED ALWAYS AS (doubled(v)) STORED, ts TIMESTAMP, \
         WATERMARK FOR ts)",
        "CREATE VIEW seen AS SELECT v, doubled(parity(v)) AS p FROM f",
        "CREATE MATERIALIZED VIEW sums AS SELECT parity(v) AS p, sum(doubled(d)) AS n FROM f \
         GROUP BY parity(v)",
        "CREATE MATERIALIZED VIEW tumbled AS SELECT window_start, max(doubled(v)) AS n \
         FROM TUMBLE(f, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
        "CREATE MATERIALIZED VIEW products AS SELECT window_start, product(v + 10) AS p, \
         listed(v::text) AS l FROM HOP(f, ts, INTERVAL '5 seconds', INTERVAL '15 seconds') \
         GROUP BY window_start, window_end",
        "CREATE MATERIALIZED VIEW all_products AS SELECT product(v + 10) AS p, listed(v::text) AS l \
         FROM f",
        "DROP FUNCTION gone",
        "INSERT INTO f (v, ts) VALUES (1, '2024-01-01 00:00:01'), (2, '2024-01-01 00:00:02')",
    ] {
        server::run(&client, sql).await;
    }
    drop(client);
    server.kill();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "INSERT INTO f (v, ts) VALUES (3, '2024-01-01 00:00:11')").await;
    for (query, expect) in [
        ("SELECT p, n FROM sums ORDER BY p", &["even|8", "odd|16"][..]),
        ("SELECT n FROM tumbled ORDER BY n", &["4", "6"]),
        ("SELECT p FROM seen ORDER BY v", &["oddodd", "eveneven", "oddodd"]),
        ("SELECT p, l FROM all_products", &["1716|123"]),
        (
            "SELECT p, l FROM products ORDER BY window_start",
            &["132|12", "132|12", "1716|123", "13|3", "13|3"],
        ),
        ("SELECT doubled(4), doubled('x')", &["8|xx"]),
        ("SELECT count(*) FROM pg_proc WHERE proname = 'gone'", &["0"]),
    ] {
        assert_eq!(server::lines(&client, query).await, expect, "{query}");
    }
    // Numbers of functions that are gone are not given again, and what uses one is still known.
    server::run(&client, "CREATE FUNCTION later(a INT) RETURNS INT RETURN doubled(a)").await;
    let error = client.batch_execute("DROP FUNCTION parity").await.expect_err("views call it");
    assert_eq!(error.code().map(|code| code.code()), Some("2BP01"));
    assert_eq!(server::value(&client, "SELECT later(21)").await, "42");
}
