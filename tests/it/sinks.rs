//! Sinks: what goes to files and to the terminal, also across kill -9; streams that queries write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::server::{self, Server, tidemill};

/// The lines of all finished files of a directory, in the order of their names.
fn written(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.sort();
    let text = |path| std::fs::read_to_string(path).expect("a whole file");
    files
        .into_iter()
        .flat_map(|path| text(path).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Waits until so many lines are there, and gives them.
async fn eventually_written(dir: &Path, lines: usize) -> Vec<String> {
    let begun = std::time::Instant::now();
    loop {
        let found = written(dir);
        if found.len() >= lines {
            return found;
        }
        assert!(begun.elapsed() < server::PATIENCE, "{} lines of {lines}: {found:?}", found.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_ends_when_its_sinks_have_what_they_are_fed() {
    let dir = server::directory();
    let script = "
        CREATE SOURCE bid (auction BIGINT, price BIGINT, date_time TIMESTAMP, WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') WITH (connector = 'nexmark', table = 'bid', events = 20000, seed = 7);
        CREATE SINK lines AS SELECT auction, price FROM bid WHERE price > 9000000
            WITH (connector = 'file', path = 'out/lines', format = 'csv');
        CREATE SINK windows AS SELECT window_start, count(*) AS n
            FROM TUMBLE(bid, date_time, INTERVAL '1 second') GROUP BY window_start
            EMIT ON WINDOW CLOSE WITH (connector = 'file', path = 'out/windows');
        CREATE SINK columns AS SELECT auction, price, date_time FROM bid
            WITH (connector = 'file', path = 'out/columns', format = 'parquet');
        CREATE TABLE shown (window_start TIMESTAMP, n BIGINT) WITH ('connector' = 'print');
        INSERT INTO shown SELECT window_start, count(*)
            FROM TUMBLE(bid, date_time, INTERVAL '1 second') GROUP BY window_start EMIT ON WINDOW CLOSE;
        SELECT count(*) FROM bid;
        SELECT count(*) FROM bid WHERE price > 9000000;
        SELECT count(DISTINCT date_trunc('second', date_time)) FROM bid;";
    std::fs::write(dir.path().join("sinks.sql"), script).expect("written");
    let out = tidemill(dir.path(), &["run", "--format", "csv", "sinks.sql"]).ok();
    let counts: Vec<usize> = out.lines().filter_map(|line| line.parse().ok()).collect();
    let [all, dear, seconds] = counts[..] else { panic!("three counts in {out}") };
    let lines = written(&dir.path().join("out/lines"));
    let rows = lines.iter().filter(|line| *line != "auction,price").count();
    assert_eq!(rows, dear, "of {all}");
    let windows = written(&dir.path().join("out/windows"));
    assert_eq!(windows.len(), seconds, "{windows:?}");
    assert!(windows[0].starts_with("{\"window_start\":\""), "{}", windows[0]);
    // The same windows on the terminal.
    let shown: Vec<&str> = out.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(shown, windows);
    let parquet = std::fs::read_dir(dir.path().join("out/columns")).expect("a directory");
    assert!(parquet.count() > 0, "no Parquet file");
}

const WINDOWS: &str = "SELECT window_start, k, count(*) AS n, sum(v) AS s
    FROM TUMBLE(s, ts, INTERVAL '1 second') GROUP BY window_start, k";

#[tokio::test(flavor = "multi_thread")]
async fn files_have_each_change_once_however_often_the_server_is_killed() {
    let (dir, data) = (server::directory(), server::directory());
    let kept = data.path().to_str().expect("UTF-8");
    let start = || Server::start_in(dir.path(), &["--data-dir", kept]);
    let mut server = start();
    server::run(
        &server.connect().await,
        &format!(
            "CREATE STREAM s (k INT, v INT, ts TIMESTAMP, WATERMARK FOR ts);
             CREATE SINK closed AS {WINDOWS} EMIT ON WINDOW CLOSE
                WITH (connector = 'file', path = 'closed', format = 'csv', header = 'false', rollover = '20 ms');
             CREATE SINK changes AS SELECT k, count(*) AS n FROM s GROUP BY k
                WITH (connector = 'file', path = 'changes', format = 'csv', header = 'false', rollover = '0');
             CREATE STREAM doubled AS SELECT k, v * 2 AS w, ts FROM s;
             CREATE MATERIALIZED VIEW twice AS SELECT k, sum(w) AS w FROM doubled GROUP BY k"
        ),
    )
    .await;
    for round in 0..12_u64 {
        let client = server.connect().await;
        for write in 0..10_u64 {
            let second = round * 10 + write;
            let rows: Vec<String> = (0..20)
                .map(|row| {
                    format!("({}, {row}, TIMESTAMP 'epoch' + INTERVAL '{second} seconds')", row % 3)
                })
                .collect();
            server::run(&client, &format!("INSERT INTO s VALUES {}", rows.join(", "))).await;
        }
        if round % 3 == 2 {
            // What is written meanwhile is given when it goes on.
            server::run(&client, "ALTER SINK changes PAUSE; ALTER SINK changes RESUME").await;
        }
        tokio::time::sleep(Duration::from_millis(round * 13 % 90)).await;
        server.kill();
        server = start();
    }
    let client = server.connect().await;
    server::run(&client, "SELECT advance_watermark('s', 'infinity')").await;
    let wanted =
        format!("SELECT concat_ws(',', window_start, k, n, s) FROM ({WINDOWS}) w ORDER BY 1");
    let wanted = server::lines(&client, &wanted).await;
    let mut found = eventually_written(&dir.path().join("closed"), wanted.len()).await;
    found.sort();
    assert_eq!(found, wanted);
    let counted = "SELECT waiting_bytes, error FROM tidemill.sinks WHERE name = 'changes'";
    server::eventually(&client, counted, "0|NULL").await;
    // The changes sum to the answer.
    let mut answer = BTreeMap::new();
    for line in written(&dir.path().join("changes")) {
        let (diff, row) = line
            .split_once(',')
            .and_then(|(_, rest)| rest.split_once(','))
            .expect("epoch, diff, row");
        *answer.entry(row.to_owned()).or_insert(0) += diff.parse::<i64>().expect("a diff");
    }
    answer.retain(|_, times| *times != 0);
    let rows = server::lines(&client, "SELECT concat_ws(',', k, count(*)) FROM s GROUP BY k").await;
    assert_eq!(answer, rows.into_iter().map(|row| (row, 1)).collect());
    // A stream that a query writes has each row once, and so have the views over it.
    let sums = "SELECT k, sum(v * 2) FROM s GROUP BY k ORDER BY k";
    let sums = server::lines(&client, sums).await;
    assert_eq!(server::lines(&client, "SELECT k, w FROM twice ORDER BY k").await, sums);
    let of_stream = "SELECT k, sum(w) FROM doubled GROUP BY k ORDER BY k";
    assert_eq!(server::lines(&client, of_stream).await, sums);
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_other_side_is_down_holds_up_nobody_else_and_goes_on_when_it_is_back() {
    let dir = server::directory();
    let server = Server::start_in(dir.path(), &["--ephemeral"]);
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (k INT);
         CREATE SINK files AS SELECT k FROM s WITH (connector = 'file', path = 'out', rollover = '0');
         CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM s;
         INSERT INTO s VALUES (1)",
    )
    .await;
    eventually_written(&dir.path().join("out"), 1).await;
    // A file stands where the directory was.
    std::fs::rename(dir.path().join("out"), dir.path().join("away")).expect("renamed");
    std::fs::write(dir.path().join("out"), "").expect("written");
    server::run(&client, "INSERT INTO s VALUES (2), (3)").await;
    assert_eq!(server::value(&client, "SELECT n FROM n").await, "3");
    let stuck = "SELECT state, rows_out, retries > 0, error IS NOT NULL, waiting_bytes > 0 FROM tidemill.sinks";
    server::eventually(&client, stuck, "running|1|t|t|t").await;
    std::fs::remove_file(dir.path().join("out")).expect("removed");
    std::fs::rename(dir.path().join("away"), dir.path().join("out")).expect("renamed");
    let lines = eventually_written(&dir.path().join("out"), 3).await;
    assert_eq!(lines, ["{\"k\":1}", "{\"k\":2}", "{\"k\":3}"]);
    let well = "SELECT rows_out, error, waiting_bytes FROM tidemill.sinks";
    server::eventually(&client, well, "3|NULL|0").await;
    let made = server::lines(&client, "SHOW CREATE SINK files").await.join("\n");
    assert_eq!(
        made,
        "files|CREATE SINK files AS SELECT k FROM s WITH (\n    connector = 'file',\n    path = 'out',\n    rollover = '0'\n)"
    );
}
