//! Parameters in continuous queries: a query is planned before they have values, and run when they have.

use crate::server;

#[tokio::test(flavor = "multi_thread")]
async fn a_continuous_query_takes_parameters_in_its_conditions_and_expressions() {
    let client = server::shared().connect().await;
    let name = server::unique("params");
    let setup = format!(
        "CREATE STREAM {name} (id INT, k TEXT, v NUMERIC, ts TIMESTAMP, WATERMARK FOR ts);
         INSERT INTO {name} VALUES (1, 'a', 1, '2024-01-01'), (2, 'b', 2, '2024-01-02'), (3, 'b', 3, '2024-01-03')"
    );
    client.batch_execute(&setup).await.expect("a stream with rows");
    let ids = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();

    let greater = format!("SELECT id FROM {name} WHERE id > $1 EMIT CHANGES LIMIT 2");
    assert_eq!(ids(client.query(&greater, &[&1_i32]).await.expect("rows")), [2, 3]);
    let of_key =
        format!("SELECT id FROM {name} WHERE k = $1 AND v / 2 > $2::int EMIT ON WINDOW CLOSE LIMIT 1");
    assert_eq!(ids(client.query(&of_key, &[&"b", &1_i32]).await.expect("rows")), [3]);
    let windows = format!(
        "SELECT max(id) FROM TUMBLE({name}, ts, INTERVAL '1 day') WHERE k = $1 GROUP BY window_start \
         EMIT CHANGES LIMIT 2"
    );
    let mut found = ids(client.query(&windows, &[&"b"]).await.expect("rows"));
    found.sort_unstable();
    assert_eq!(found, [2, 3]);
}
