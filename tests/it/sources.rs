//! Sources: files as they are, as they grow and with wrong records in them; generated auctions.

use std::io::Write;
use std::path::Path;

use crate::server::{self, Server};

fn serve(dir: &Path) -> Server {
    Server::start_in(dir, &["--ephemeral"])
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_csv_records_are_rejected_one_by_one_and_the_rest_is_unharmed() {
    let dir = server::directory();
    let csv = "k,v,ts\na,1,2024-01-01 00:00:01\nb,not a number,2024-01-01 00:00:02\n\"c, d\",3,2024-01-01 00:00:03\n\
               too,few\ne,5,2024-01-01 00:00:05,too many\n\"f \"\"q\"\"\",6,2024-01-01 00:00:06\ng,7,never\nh,,2024-01-01 00:00:08\n";
    std::fs::write(dir.path().join("in.csv"), csv).expect("written");
    let server = serve(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts) \
         WITH (connector = 'file', path = 'in.csv', format = 'csv', header = 'true', mode = 'once')",
    )
    .await;
    server::eventually(&client, "SELECT k, v FROM f ORDER BY ts", "a|1\nc, d|3\nf \"q\"|6\nh|NULL")
        .await;
    server::eventually(
        &client,
        "SELECT count(*) FROM tidemill.rejected_rows WHERE stream = 'f'",
        "4",
    )
    .await;
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW minutes AS SELECT window_start, count(*) AS n \
         FROM TUMBLE(f, ts, INTERVAL '1 minute') GROUP BY window_start, window_end",
    )
    .await;
    server::eventually(&client, "SELECT n FROM minutes", "4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_views_over_one_file_reject_is_kept_once_also_after_a_crash() {
    let (dir, data) = (server::directory(), server::directory());
    let far = "2999-01-01 00:00:00";
    let csv = format!(
        "a,1,2024-01-01 00:00:01\nbad,x,2024-01-01 00:00:02\nno time,3,\nfar,4,{far}\nnever,5,infinity\n\
         \"no \"\"time\"\"\",6,\nb,7,2024-01-01 00:00:07\n"
    );
    std::fs::write(dir.path().join("in.csv"), csv).expect("written");
    let kept = data.path().to_str().expect("UTF-8");
    let start = || Server::start_in(dir.path(), &["--data-dir", kept]);
    let server = start();
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts) \
         WITH (connector = 'file', path = 'in.csv', format = 'csv', mode = 'watch');
         CREATE MATERIALIZED VIEW tens AS SELECT window_start, count(*) AS n \
         FROM TUMBLE(f, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end;
         CREATE MATERIALIZED VIEW minutes AS SELECT window_start, sum(v) AS t \
         FROM TUMBLE(f, ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
         CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(v) AS t FROM f",
    )
    .await;
    let rejected = "SELECT partition, \"offset\", raw, error FROM tidemill.rejected_rows \
                    WHERE stream = 'f' ORDER BY \"offset\"";
    let no_time = "no event time: column \"ts\" is null, so the row is in no window";
    let expected = format!(
        "0|1|bad,x,2024-01-01 00:00:02|column \"v\": invalid input syntax for type integer: \"x\"\n\
         0|2|no time,3,|{no_time}\n\
         0|3|far,4,{far}|column \"ts\": the event time is further ahead of the clock than max_future allows\n\
         0|4|never,5,infinity|column \"ts\": an event time must be finite\n\
         0|5|\"no \"\"time\"\"\",6,|{no_time}"
    );
    let check = async |client: &tokio_postgres::Client| {
        server::eventually(client, "SELECT n FROM tens", "2").await;
        server::eventually(client, "SELECT t FROM minutes", "8").await;
        // Without windows, a row without a time is a row like any other.
        server::eventually(client, "SELECT * FROM totals", "4|17").await;
        server::run(client, "SET bytea_output = 'escape'").await;
        assert_eq!(server::lines(client, rejected).await.join("\n"), expected);
        let streams = "SELECT rows, rejected_rows, watermark FROM tidemill.streams";
        assert_eq!(server::lines(client, streams).await.join("\n"), "4|5|2024-01-01 00:00:07");
    };
    check(&client).await;
    // Neither does a snapshot keep them again.
    assert_eq!(server::value(&client, "SELECT count(*) FROM f").await, "4");
    check(&client).await;
    server.kill();
    let server = start();
    check(&server.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn computed_columns_are_part_of_a_files_records() {
    let dir = server::directory();
    let json = "{\"k\": \"a\", \"ms\": 1704067201000, \"q\": 4}\n{\"k\": \"b\", \"ms\": 1704067202000, \"q\": 0}\n\
                {\"k\": \"c\", \"ms\": null, \"q\": 5}\n{\"k\": \"d\", \"ms\": \"x\", \"q\": 5}\n\
                {\"k\": \"e\", \"ms\": 32472144000000, \"q\": 8}\n{\"k\": null, \"ms\": 1704067203000, \"q\": 1}\n\
                {\"k\": \"g\", \"ms\": 1704067212000, \"q\": 3}\n";
    std::fs::write(dir.path().join("in.json"), json).expect("written");
    let server = serve(dir.path());
    let client = server.connect().await;
    let with = "connector = 'file', path = 'in.json', format = 'json', mode = 'once'";
    let columns = "share AS (100 / q), k TEXT, ts TIMESTAMP(3) GENERATED ALWAYS AS (to_timestamp_millis(ms)) STORED, ms BIGINT, \
                   third AS (q::numeric / 3), q INT, K2 TEXT NOT NULL GENERATED ALWAYS AS (upper(k)) STORED, WATERMARK FOR ts";
    server::run(&client, &format!("CREATE SOURCE f ({columns}) WITH ({with})")).await;
    let windows = "SELECT window_start, count(*) AS n, sum(share) AS s, min(k2) AS k \
                   FROM TUMBLE(f, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end";
    server::run(&client, &format!("CREATE MATERIALIZED VIEW w AS {windows}")).await;
    server::run(&client, "CREATE MATERIALIZED VIEW c AS SELECT count(*) AS n FROM f").await;
    // The same rows whatever is asked for, live and not.
    let expected = "2024-01-01 00:00:00|1|25|A\n2024-01-01 00:00:10|1|33|G";
    server::eventually(&client, "SELECT * FROM w ORDER BY 1", expected).await;
    server::eventually(&client, &format!("{windows} ORDER BY 1"), expected).await;
    server::eventually(&client, "SELECT * FROM c", "3").await;
    server::eventually(&client, "SELECT count(*) FROM f", "3").await;
    server::eventually(
        &client,
        "SELECT * FROM f ORDER BY ms",
        "25|a|2024-01-01 00:00:01|1704067201000|1.3333333333333333|4|A\n33|g|2024-01-01 00:00:12|1704067212000|1|3|G\n\
         20|c|NULL|NULL|1.6666666666666667|5|C",
    )
    .await;
    server::run(&client, "SET bytea_output = 'escape'").await;
    let rejected = "SELECT \"offset\", raw, error FROM tidemill.rejected_rows WHERE stream = 'f' ORDER BY \"offset\"";
    let far = "column \"ts\": the event time is further ahead of the clock than max_future allows";
    server::eventually(
        &client,
        rejected,
        &format!(
            "1|{{\"k\": \"b\", \"ms\": 1704067202000, \"q\": 0}}|column \"share\": division by zero\n\
             2|{{\"k\": \"c\", \"ms\": null, \"q\": 5}}|no event time: column \"ts\" is null, so the row is in no window\n\
             3|{{\"k\": \"d\", \"ms\": \"x\", \"q\": 5}}|column \"ms\": invalid input syntax for type bigint: \"x\"\n\
             4|{{\"k\": \"e\", \"ms\": 32472144000000, \"q\": 8}}|{far}\n\
             5|{{\"k\": null, \"ms\": 1704067203000, \"q\": 1}}|column \"k2\": null value in a NOT NULL column"
        ),
    )
    .await;
    // With on_error = 'fail' the first of them stops the view.
    server::run(&client, &format!("CREATE SOURCE g ({columns}) WITH ({with}, on_error = 'fail')"))
        .await;
    server::run(&client, "CREATE MATERIALIZED VIEW d AS SELECT count(*) AS n FROM g").await;
    let state = "SELECT state, error LIKE '%record 1: column \"share\": division by zero%' FROM tidemill.queries WHERE name = 'd'";
    server::eventually(&client, state, "failed|t").await;
    // What would be another value each time is no part of a log.
    for expr in ["PROCTIME()", "now()", "random()::text || k"] {
        let sql = format!("CREATE SOURCE h (k TEXT, p AS {expr}) WITH ({with})");
        assert_eq!(server::failure(&client, &sql).await, "0A000", "{expr}");
    }
    let sql = format!("CREATE SOURCE h (p AS 1 + 1) WITH ({with})");
    assert_eq!(server::failure(&client, &sql).await, "42P16");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_file_is_read_as_it_grows_and_an_unfinished_line_is_no_record_yet() {
    let dir = server::directory();
    let path = dir.path().join("in.json");
    let mut file = std::fs::File::create(&path).expect("created");
    let mut append = move |text: &str| {
        file.write_all(text.as_bytes()).expect("written");
        file.flush().expect("written");
    };
    append("{\"k\": \"a\", \"v\": 1, \"ts\": \"2024-01-01 00:00:01\"}\n{\"k\": \"b\", \"v\": \n");
    let server = serve(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts) \
         WITH (connector = 'file', path = 'in.json', format = 'json', mode = 'watch');
         CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(v) AS total FROM f",
    )
    .await;
    server::eventually(&client, "SELECT * FROM totals", "1|1").await;
    server::eventually(&client, "SELECT count(*) FROM tidemill.rejected_rows", "1").await;
    append("{\"v\": 10, \"ts\": \"2024-01-01 00:00:02\"}\n{\"k\": \"unfinished\", \"v\": 100");
    server::eventually(&client, "SELECT * FROM totals", "2|11").await;
    append(", \"ts\": null}\n{\"v\": 1.9}\n{\"v\": 99999999999}\n");
    server::eventually(&client, "SELECT * FROM totals", "3|111").await;
    // A fraction is no integer, and a number too large is not cut; the row without an event time is
    // kept beside them.
    server::eventually(&client, "SELECT count(*) FROM tidemill.rejected_rows", "4").await;
    let untimed = "SELECT count(*) FROM tidemill.rejected_rows WHERE error LIKE 'no event time%'";
    assert_eq!(server::value(&client, untimed).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_source_reads_on_after_a_crash_without_gap_or_repetition() {
    let (dir, data) = (server::directory(), server::directory());
    let path = dir.path().join("in.csv");
    let line = |i: u64| format!("{i},2024-01-01 00:00:{:02}\n", i % 60);
    std::fs::write(&path, (0..1_000).map(line).collect::<String>()).expect("written");
    let kept = data.path().to_str().expect("UTF-8");
    let start = || Server::start_in(dir.path(), &["--data-dir", kept]);
    let server = start();
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE SOURCE f (i BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 hour') \
         WITH (connector = 'file', path = 'in.csv', format = 'csv', mode = 'watch');
         CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(i) AS total FROM f",
    )
    .await;
    server::eventually(&client, "SELECT * FROM totals", "1000|499500").await;
    server.kill();
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
    file.write_all((1_000..1_500).map(line).collect::<String>().as_bytes()).expect("written");
    let server = start();
    let client = server.connect().await;
    server::eventually(&client, "SELECT * FROM totals", "1500|1124250").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_auctions_are_a_function_of_their_seed() {
    let client = server::shared().connect().await;
    let names: Vec<String> =
        ["one", "same", "other"].iter().map(|name| server::unique(name)).collect();
    for (name, seed) in names.iter().zip([7, 7, 8]) {
        server::run(
            &client,
            &format!(
                "CREATE SOURCE {name} (auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), \
                 WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') \
                 WITH (connector = 'nexmark', 'table' = 'bid', events = 5000, seed = {seed})"
            ),
        )
        .await;
    }
    let different = async |a: &str, b: &str| {
        let sql =
            format!("SELECT count(*) FROM (SELECT * FROM {a} EXCEPT ALL SELECT * FROM {b}) AS d");
        server::value(&client, &sql).await.parse::<u64>().expect("a number")
    };
    server::eventually(&client, &format!("SELECT count(*) > 1000 FROM {}", names[0]), "t").await;
    assert_eq!(different(&names[0], &names[1]).await, 0);
    assert!(different(&names[0], &names[2]).await > 0);
    // Finite input ends: this returns without a LIMIT.
    let windows = format!(
        "SELECT window_start, count(*) FROM TUMBLE({}, date_time, INTERVAL '1 second') \
         GROUP BY window_start, window_end",
        names[0]
    );
    let mut live = server::lines(&client, &format!("{windows} EMIT ON WINDOW CLOSE")).await;
    let mut snapshot = server::lines(&client, &windows).await;
    live.sort();
    snapshot.sort();
    assert_eq!(live, snapshot);
}
