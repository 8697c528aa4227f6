//! Parameters: a statement is planned before they have values, and run when they have, again and
//! again.

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
    let ids =
        |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();

    let greater = format!("SELECT id FROM {name} WHERE id > $1 EMIT CHANGES LIMIT 2");
    assert_eq!(ids(client.query(&greater, &[&1_i32]).await.expect("rows")), [2, 3]);
    let of_key = format!(
        "SELECT id FROM {name} WHERE k = $1 AND v / 2 > $2::int EMIT ON WINDOW CLOSE LIMIT 1"
    );
    assert_eq!(ids(client.query(&of_key, &[&"b", &1_i32]).await.expect("rows")), [3]);
    let windows = format!(
        "SELECT max(id) FROM TUMBLE({name}, ts, INTERVAL '1 day') WHERE k = $1 GROUP BY window_start \
         EMIT CHANGES LIMIT 2"
    );
    let mut found = ids(client.query(&windows, &[&"b"]).await.expect("rows"));
    found.sort_unstable();
    assert_eq!(found, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_insert_writes_what_the_same_insert_writes_unprepared() {
    let client = server::shared().connect().await;
    let name = server::unique("prepared");
    let setup = format!(
        "CREATE TABLE {name} (id INT PRIMARY KEY, k VARCHAR(3) NOT NULL, v NUMERIC(6, 2) DEFAULT 1.5,
             at TIMESTAMPTZ DEFAULT now(), twice INT GENERATED ALWAYS AS (id * 2) STORED, l INT[])"
    );
    client.batch_execute(&setup).await.expect("a table");
    let insert = format!("INSERT INTO {name} (id, k, v, l) VALUES ($1, $2, $3::text::numeric, $4)");
    let general = client.prepare(&insert).await.expect("it is planned");
    client.execute(&general, &[&1_i32, &"a", &"2.345", &vec![1_i32, 2]]).await.expect("a row");
    let plain = format!("INSERT INTO {name} (id, k, l) VALUES ($1, $2, $3), ($1 + 0, 'x', NULL)");
    let refused = client
        .execute(&plain, &[&2_i32, &"b", &vec![3_i32]])
        .await
        .expect_err("the key is there twice");
    assert_eq!(server::state(&refused), "23505");

    let plain = client
        .prepare(&format!("INSERT INTO {name} (id, k, l) VALUES ($1, $2, $3)"))
        .await
        .expect("planned");
    assert_eq!(
        plain.params().iter().map(|t| t.name()).collect::<Vec<_>>(),
        ["int4", "varchar", "_int4"]
    );
    for id in 2..5_i32 {
        client.execute(&plain, &[&id, &"b", &Some(vec![Some(3_i32), None])]).await.expect("a row");
    }
    client.execute(&plain, &[&5_i32, &"c", &None::<Vec<i32>>]).await.expect("a row");
    let fails = async |id: i32, k: Option<&str>| {
        let failed = client.execute(&plain, &[&id, &k, &None::<Vec<i32>>]).await;
        server::state(&failed.expect_err("it is refused"))
    };
    assert_eq!(fails(5, Some("d")).await, "23505");
    assert_eq!(fails(6, None).await, "23502");
    assert_eq!(fails(6, Some("long")).await, "22001");
    let rows = format!(
        "SELECT string_agg(concat_ws('|', id, k, v, twice, l::text), ' ' ORDER BY id) FROM {name}"
    );
    let expected =
        "1|a|2.35|2|{1,2} 2|b|1.50|4|{3,NULL} 3|b|1.50|6|{3,NULL} 4|b|1.50|8|{3,NULL} 5|c|1.50|10";
    assert_eq!(server::value(&client, &rows).await, expected);
    let recent =
        format!("SELECT count(*) FROM {name} WHERE at BETWEEN now() - INTERVAL '1 hour' AND now()");
    assert_eq!(
        server::value(&client, &recent).await,
        "5",
        "each has the time at which it was written"
    );

    client.batch_execute(&format!("DROP TABLE {name}")).await.expect("it goes");
    assert_eq!(fails(7, Some("e")).await, "42P01");
    client
        .batch_execute(&format!("CREATE TABLE {name} (l INT[], k TEXT, id BIGINT)"))
        .await
        .expect("again");
    client
        .execute(&plain, &[&7_i32, &"longer", &None::<Vec<i32>>])
        .await
        .expect_err("varchar is what was bound");
    client
        .execute(&plain, &[&7_i32, &"e", &None::<Vec<i32>>])
        .await
        .expect("a row of the new table");
    assert_eq!(server::value(&client, &format!("SELECT k FROM {name} WHERE id = 7")).await, "e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constant_in_a_prepared_insert_is_read_in_the_time_zone_of_the_moment() {
    let client = server::shared().connect().await;
    let name = server::unique("zoned");
    client
        .batch_execute(&format!("CREATE TABLE {name} (id INT, at TIMESTAMPTZ)"))
        .await
        .expect("a table");
    let insert = format!("INSERT INTO {name} VALUES ($1, '2024-01-01 12:00')");
    let insert = client.prepare(&insert).await.expect("planned");
    for (id, zone) in [(1_i32, "UTC"), (2, "Asia/Tokyo"), (3, "UTC")] {
        client.batch_execute(&format!("SET TimeZone = '{zone}'")).await.expect("set");
        client.execute(&insert, &[&id]).await.expect("a row");
    }
    let hours =
        format!("SELECT string_agg(extract(hour FROM at)::int::text, ',' ORDER BY id) FROM {name}");
    assert_eq!(server::value(&client, &hours).await, "12,3,12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_select_answers_as_of_each_time_it_runs() {
    let mut client = server::shared().connect().await;
    let name = server::unique("seen");
    let setup = format!(
        "CREATE TABLE {name} (id INT, k TEXT, v NUMERIC);
         CREATE VIEW {name}_v AS SELECT k, sum(v) AS v FROM {name} GROUP BY k;
         INSERT INTO {name} VALUES (1, 'a', 1.25), (2, 'b', 2.5)"
    );
    client.batch_execute(&setup).await.expect("a table and a view");
    let select = format!(
        "SELECT t.id, w.v::float8, $2::text, current_setting('application_name') FROM {name} AS t
         JOIN {name}_v AS w USING (k) WHERE t.id >= $1 AND t.k = ANY($3) AND t.id IN (SELECT id FROM {name} WHERE id < $4)
         ORDER BY 1 LIMIT $5"
    );
    let select = client.prepare(&select).await.expect("planned");
    let seen = |rows: Vec<tokio_postgres::Row>| {
        let row = |row: tokio_postgres::Row| {
            format!(
                "{}:{}:{:?}:{}",
                row.get::<_, i32>(0),
                row.get::<_, f64>(1),
                row.get::<_, Option<&str>>(2),
                row.get::<_, &str>(3)
            )
        };
        rows.into_iter().map(row).collect::<Vec<_>>().join(" ")
    };
    let keys = vec!["a", "b"];
    let of = async |client: &tokio_postgres::Client, from: i32, text: Option<&str>, limit: i64| {
        client.query(&select, &[&from, &text, &keys, &9_i32, &limit]).await.map(seen)
    };
    assert_eq!(
        of(&client, 1, Some("x"), 5).await.expect("rows"),
        r#"1:1.25:Some("x"): 2:2.5:Some("x"):"#
    );
    assert_eq!(of(&client, 2, None, 5).await.expect("rows"), "2:2.5:None:");
    client
        .batch_execute(&format!(
            "SET application_name = 'me'; INSERT INTO {name} VALUES (3, 'a', 1)"
        ))
        .await
        .expect("set");
    assert_eq!(of(&client, 1, None, 2).await.expect("rows"), "1:2.25:None:me 2:2.5:None:me");
    let transaction = client.transaction().await.expect("begins");
    transaction
        .batch_execute(&format!("INSERT INTO {name} VALUES (4, 'b', 1)"))
        .await
        .expect("a row");
    let own = transaction.query(&select, &[&4_i32, &"own", &keys, &9_i32, &9_i64]).await.map(seen);
    assert_eq!(own.expect("rows"), r#"4:3.5:Some("own"):me"#);
    transaction.rollback().await.expect("over");
    assert_eq!(of(&client, 4, None, 9).await.expect("none"), "");
    assert_eq!(
        server::state(&of(&client, 1, None, -1).await.expect_err("LIMIT is negative")),
        "2201W"
    );

    let all =
        client.prepare(&format!("SELECT * FROM {name} WHERE id = $1")).await.expect("planned");
    client.batch_execute(&format!("DROP VIEW {name}_v; DROP TABLE {name}")).await.expect("they go");
    let gone = client.query(&all, &[&1_i32]).await.expect_err("it is gone");
    assert_eq!(server::state(&gone), "42P01");
    client
        .batch_execute(&format!("CREATE TABLE {name} (id INT, k TEXT)"))
        .await
        .expect("with other columns");
    let other = client.query(&all, &[&1_i32]).await.expect_err("it has other columns");
    assert_eq!(server::state(&other), "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_select_of_a_table_as_it_was_answers_each_time() {
    let client = server::shared().connect().await;
    let name = server::unique("rates");
    server::run(&client, &format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, rate INT)")).await;
    server::run(&client, &format!("INSERT INTO {name} VALUES (1, 10), (2, 20)")).await;
    let select = format!(
        "SELECT now.rate, was.rate FROM {name} AS now JOIN {name} FOR SYSTEM_TIME AS OF now() AS was
         ON was.id = now.id WHERE now.id = $1"
    );
    let select = client.prepare(&select).await.expect("planned");
    for rate in [10, 11, 12, 13] {
        let sql = format!("UPDATE {name} SET rate = {rate} WHERE id = 1");
        server::run(&client, &sql).await;
        let rows = client.query(&select, &[&1_i64]).await.expect("answered");
        let found: Vec<(i32, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(found, [(rate, rate)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_depends_on_a_parameter_is_that_of_its_value() {
    let client = server::shared().connect().await;
    let name = server::unique("digits");
    client
        .batch_execute(&format!(
            "CREATE TABLE {name} (v NUMERIC); INSERT INTO {name} VALUES (2.345)"
        ))
        .await
        .expect("a table");
    let rounded =
        client.prepare(&format!("SELECT round(v, $1)::text FROM {name}")).await.expect("planned");
    for (digits, expected) in [(2_i32, "2.35"), (0, "2"), (1, "2.3")] {
        let rows = client.query(&rounded, &[&digits]).await.expect("a row");
        assert_eq!(rows[0].get::<_, &str>(0), expected);
    }
}
