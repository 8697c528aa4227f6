//! Options do what they say, or are refused; none is passed over in silence.

use std::io::Write;
use std::path::Path;

use crate::server::{self, Server};

fn serve(dir: &Path) -> Server {
    Server::start_in(dir, &["--ephemeral"])
}

fn append(path: &Path, text: &str) {
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scan_startup_latest_a_view_has_exactly_what_is_written_after_it_was_made() {
    let client = server::shared().connect().await;
    let s = server::unique("s");
    server::run(&client, &format!("CREATE STREAM {s} (v INT, ts TIMESTAMP, WATERMARK FOR ts)"))
        .await;
    for round in 0..20 {
        let v = server::unique("v");
        let insert =
            |value: i32| format!("INSERT INTO {s} VALUES ({value}, '2024-01-01 00:00:{round:02}')");
        server::run(&client, &insert(round)).await;
        let create = format!(
            "CREATE MATERIALIZED VIEW {v} WITH (scan_startup = 'latest') AS SELECT v FROM {s}"
        );
        server::run(&client, &create).await;
        server::run(&client, &insert(100 + round)).await;
        assert_eq!(
            server::lines(&client, &format!("SELECT * FROM {v}")).await,
            [(100 + round).to_string()]
        );
        server::run(&client, &format!("DROP MATERIALIZED VIEW {v}")).await;
    }
    server::run(
        &client,
        &format!("SET scan_startup = 'latest'; BEGIN; DECLARE c CURSOR FOR SELECT v FROM {s} EMIT CHANGES"),
    )
    .await;
    let other = server::shared().connect().await;
    server::run(&other, &format!("INSERT INTO {s} VALUES (7, '2024-01-01 00:01:00')")).await;
    assert_eq!(server::lines(&client, "FETCH 1 FROM c").await, ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scan_startup_latest_a_view_over_a_file_has_what_is_appended_after_it_was_made() {
    let dir = server::directory();
    let path = dir.path().join("in.csv");
    append(&path, "1,2024-01-01 00:00:01\n2,2024-01-01 00:01:00\n");
    let server = serve(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (v INT, ts TIMESTAMP, WATERMARK FOR ts) \
         WITH (connector = 'file', path = 'in.csv', format = 'csv', mode = 'watch');
         CREATE MATERIALIZED VIEW later WITH (scan_startup = 'latest') AS SELECT v FROM f;
         CREATE MATERIALIZED VIEW windows WITH (scan_startup = 'latest') AS SELECT window_start, sum(v) AS t \
         FROM TUMBLE(f, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end;
         CREATE MATERIALIZED VIEW all_of_it AS SELECT v FROM f",
    )
    .await;
    append(&path, "3,2024-01-01 00:01:01\n4,2024-01-01 00:00:02\n");
    server::eventually(&client, "SELECT v FROM later ORDER BY v", "3\n4").await;
    server::eventually(&client, "SELECT v FROM all_of_it ORDER BY v", "1\n2\n3\n4").await;
    // What was there before counts for the watermark: lateness is a fact of the stream.
    server::eventually(&client, "SELECT t FROM windows", "3").await;
    let late = "SELECT late_rows FROM tidemill.queries WHERE name = 'windows'";
    assert_eq!(server::value(&client, late).await, "1");
    assert_eq!(server::value(&client, "SELECT rows FROM tidemill.streams").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_error_fail_stops_the_view_at_the_first_wrong_record() {
    let dir = server::directory();
    let path = dir.path().join("in.csv");
    append(&path, "1\nx\n3\n");
    let server = serve(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (v INT) \
         WITH (connector = 'file', path = 'in.csv', format = 'csv', mode = 'watch', on_error = 'fail');
         CREATE MATERIALIZED VIEW v AS SELECT v FROM f",
    )
    .await;
    let state =
        "SELECT state, error LIKE '%record 1%22P02%' FROM tidemill.queries WHERE name = 'v'";
    server::eventually(&client, state, "failed|t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_shrinks_is_an_error_or_begun_again() {
    let dir = server::directory();
    for name in ["fails", "begins_again"] {
        append(&dir.path().join(name), "1\n2\n");
    }
    let server = serve(dir.path());
    let client = server.connect().await;
    for (name, option) in [("fails", ""), ("begins_again", ", on_truncate = 'restart'")] {
        server::run(
            &client,
            &format!(
                "CREATE SOURCE {name} (v INT) \
                 WITH (connector = 'file', path = '{name}', format = 'csv', mode = 'watch'{option});
                 CREATE MATERIALIZED VIEW {name}_1 AS SELECT v FROM {name};
                 CREATE MATERIALIZED VIEW {name}_2 AS SELECT count(*) AS n FROM {name}"
            ),
        )
        .await;
        server::eventually(&client, &format!("SELECT n FROM {name}_2"), "2").await;
        server::eventually(&client, &format!("SELECT count(*) FROM {name}_1"), "2").await;
        std::fs::write(dir.path().join(name), "9\n").expect("written");
    }
    let state =
        "SELECT state, error LIKE '%became shorter%' FROM tidemill.queries WHERE name = 'fails_1'";
    server::eventually(&client, state, "failed|t").await;
    server::eventually(&client, "SELECT v FROM begins_again_1 ORDER BY v", "1\n2\n9").await;
    server::eventually(&client, "SELECT n FROM begins_again_2", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_are_forgotten_but_not_before_a_view_has_read_them() {
    let client = server::shared().connect().await;
    let (by_time, by_size, view) =
        (server::unique("by_time"), server::unique("by_size"), server::unique("view"));
    server::run(
        &client,
        &format!(
            "CREATE STREAM {by_time} (v INT) WITH (retention = '1 second');
             CREATE STREAM {by_size} (t TEXT) WITH (retention_bytes = '1 MB');
             CREATE MATERIALIZED VIEW {view} AS SELECT count(*) AS n FROM {by_time};
             INSERT INTO {by_time} VALUES (1), (2), (3)"
        ),
    )
    .await;
    for _ in 0..30 {
        server::run(
            &client,
            &format!("INSERT INTO {by_size} SELECT repeat('x', 100) FROM generate_series(1, 1000) AS g(i)"),
        )
        .await;
    }
    server::eventually(&client, &format!("SELECT count(*) FROM {by_time}"), "0").await;
    assert_eq!(server::value(&client, &format!("SELECT n FROM {view}")).await, "3");
    let size = format!(
        "SELECT bytes BETWEEN 500000 AND 1048576, first_offset > 0 FROM tidemill.streams WHERE name = '{by_size}'"
    );
    server::eventually(&client, &size, "t|t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn show_create_says_every_option_and_can_be_run_again() {
    let dir = server::directory();
    let server = serve(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (ms BIGINT, ts AS to_timestamp_millis(ms), WATERMARK FOR ts AS ts - INTERVAL '90' SECOND) \
         WITH (retention = '7 days', retention_bytes = '1 GB', idle_timeout = '1500 ms', max_future = '1 hour'); \
         CREATE MATERIALIZED VIEW v WITH (allowed_lateness = '2 min', retention = '1 day') AS \
         SELECT window_end, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
    )
    .await;
    let created = async |kind: &str, name: &str| {
        let rows = client.query(&format!("SHOW CREATE {kind} {name}"), &[]).await.expect("shown");
        rows[0].get::<_, String>(1)
    };
    let (stream, view) = (created("STREAM", "s").await, created("MATERIALIZED VIEW", "v").await);
    assert_eq!(
        stream,
        "CREATE STREAM s (\n    ms bigint,\n    ts timestamp(3) with time zone GENERATED ALWAYS AS (to_timestamp_millis(ms)) STORED,\n    \
         WATERMARK FOR ts AS ts - INTERVAL '90 seconds'\n) WITH (\n    retention = '7 days',\n    retention_bytes = '1073741824',\n    \
         idle_timeout = '1500 milliseconds',\n    max_future = '1 hour'\n)"
    );
    assert!(view.contains("allowed_lateness = '2 minutes',\n    retention = '1 day'"), "{view}");
    server::run(&client, &format!("DROP STREAM s CASCADE; {stream}; {view}")).await;
    assert_eq!(
        (created("STREAM", "s").await, created("MATERIALIZED VIEW", "v").await),
        (stream, view)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_effect_yet_is_refused_and_a_wrong_value_too() {
    let dir = server::directory();
    append(&dir.path().join("in.csv"), "1\n");
    let server = serve(dir.path());
    let client = server.connect().await;
    let check = async |options: &str, state: &str| {
        let embedded =
            format!("CREATE STREAM s (v INT, ts TIMESTAMP, WATERMARK FOR ts) WITH ({options})");
        assert_eq!(server::failure(&client, &embedded).await, state, "{options}");
        let file = format!(
            "CREATE SOURCE s (v INT, ts TIMESTAMP, WATERMARK FOR ts) \
             WITH (connector = 'file', path = 'in.csv', format = 'csv', {options})"
        );
        assert_eq!(server::failure(&client, &file).await, state, "{options}");
    };
    check("idle_advance = 'perhaps'", "22023").await;
    check("idle_timeout = 'a while'", "22023").await;
    check("max_future = 'soon'", "22023").await;
    check("colour = 'red'", "22023").await;
    let clocked = "CREATE SOURCE s (v INT, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'file', path = 'in.csv', format = 'csv', idle_advance = true)";
    assert_eq!(server::failure(&client, clocked).await, "0A000");
    // A connector's rows are not ours to forget.
    let kept = "CREATE SOURCE s (v INT) WITH (connector = 'file', path = 'in.csv', format = 'csv', retention = '1 day')";
    assert_eq!(server::failure(&client, kept).await, "22023");
    for option in
        ["mode = 'twice'", "on_error = 'ignore'", "on_truncate = 'hope'", "header = 'maybe'"]
    {
        let sql = format!(
            "CREATE SOURCE s (v INT) WITH (connector = 'file', path = 'in.csv', format = 'csv', {option})"
        );
        assert_eq!(server::failure(&client, &sql).await, "22023", "{option}");
    }
    server::run(
        &client,
        "CREATE STREAM ahead (ts TIMESTAMPTZ, WATERMARK FOR ts) WITH (max_future = '1 hour', idle_timeout = '5 s')",
    )
    .await;
    server::run(&client, "INSERT INTO ahead VALUES (now() + INTERVAL '30 minutes')").await;
    let too_far = "INSERT INTO ahead VALUES (now() + INTERVAL '2 hours')";
    assert_eq!(server::failure(&client, too_far).await, "22008");
}
