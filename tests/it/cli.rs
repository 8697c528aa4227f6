//! The command line: help, refusals, `tidemill run`, signals, health.

use crate::server::{self, BINARY, Server, tidemill};

#[test]
fn help_explains_every_subcommand_and_flag() {
    let dir = server::directory();
    let help = tidemill(dir.path(), &["--help"]).ok();
    for word in ["serve", "run", "test", "bench"] {
        assert!(help.contains(word), "--help does not mention {word}:\n{help}");
    }
    let flags = "--listen --http --data-dir --ephemeral --init --files --memory-limit --max-connections --threads \
                 --users --tls-cert --tls-key --insecure --log-format --accept-loss";
    let help = tidemill(dir.path(), &["serve", "--help"]).ok();
    for flag in flags.split_whitespace() {
        assert!(help.contains(flag), "serve --help does not mention {flag}:\n{help}");
    }
    assert!(
        help.contains("TIDEMILL_LISTEN"),
        "the environment variables are not explained:\n{help}"
    );
    for (command, flags) in [
        ("run", &["--format", "--threads"][..]),
        ("bench", &["--events", "--threads", "--format", "--compare", "--input"]),
    ] {
        let help = tidemill(dir.path(), &[command, "--help"]).ok();
        for flag in flags {
            assert!(help.contains(flag), "{command} --help does not mention {flag}:\n{help}");
        }
    }
    assert!(tidemill(dir.path(), &["--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_flags_are_refused_with_a_reason() {
    let dir = server::directory();
    let refused: &[(&[&str], &str)] = &[
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["serve", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--listen", "127.0.0.1:99999"], "99999"),
        (&["serve", "--max-connections", "many"], "many"),
        (&["serve", "--memory-limit", "4 bananas"], "4 bananas"),
        (&["serve", "--ephemeral", "--data-dir", "x"], "--data-dir"),
        (&["nonsense"], "nonsense"),
        (&["run"], "FILE"),
        (&["test"], "FILE"),
        (&["test", "no-such-page.slt"], "no-such-page.slt"),
        (&["run", "no-such-file.sql"], "no-such-file.sql"),
        (&["bench", "--events", "-1"], "-1"),
    ];
    for (args, reason) in refused {
        let answer = tidemill(dir.path(), args);
        assert_ne!(answer.code, 0, "{args:?} was accepted");
        assert!(
            answer.stderr.contains(reason),
            "{args:?} does not say {reason:?}:\n{}",
            answer.stderr
        );
        assert!(!answer.stderr.contains("panicked"), "{args:?}:\n{}", answer.stderr);
    }
}

#[test]
fn a_page_with_a_wrong_answer_fails_its_test_and_the_others_go_on() {
    let dir = server::directory();
    let page = |name: &str, expected: &str| {
        let text = format!("query I\nSELECT 1 + 1\n----\n{expected}\n");
        std::fs::write(dir.path().join(name), text).expect("written");
    };
    page("a.slt", "3");
    page("b.slt", "2");
    let answer = tidemill(dir.path(), &["test", "."]);
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    assert!(
        answer.stdout.contains("FAILED  ./a.slt") && answer.stdout.contains("a.slt:1"),
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("ok      ./b.slt (1 records)"), "{}", answer.stdout);
    assert_eq!(answer.stderr.trim(), "tidemill: 1 of 2 files failed");
    assert!(tidemill(dir.path(), &["test", "b.slt"]).ok().contains("ok "));
}

#[test]
fn listening_to_the_world_without_users_is_refused() {
    let dir = server::directory();
    let listen = format!("0.0.0.0:{}", server::free_port());
    let answer = tidemill(dir.path(), &["serve", "--ephemeral", "--listen", &listen]);
    assert_ne!(answer.code, 0);
    assert!(
        answer.stderr.contains("--users") && answer.stderr.contains("--insecure"),
        "{}",
        answer.stderr
    );
    let server = Server::start(&["--ephemeral", "--insecure"]);
    assert!(server.is_running());
}

#[test]
fn a_port_in_use_is_named() {
    let (server, dir) = (server::shared(), server::directory());
    for (flag, port) in [("--listen", server.port), ("--http", server.http)] {
        let other = if flag == "--listen" { "--http" } else { "--listen" };
        let (taken, free) =
            (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", server::free_port()));
        let answer = tidemill(dir.path(), &["serve", "--ephemeral", flag, &taken, other, &free]);
        assert_ne!(answer.code, 0);
        assert!(answer.stderr.contains(&port.to_string()), "{flag}: {}", answer.stderr);
    }
}

#[test]
fn a_data_directory_in_use_or_damaged_is_refused_by_name() {
    let dir = server::directory();
    let data = dir.path().join("data");
    let server = Server::durable(&data);
    let serve = |path: &std::path::Path| {
        let (listen, http) = (
            format!("127.0.0.1:{}", server::free_port()),
            format!("127.0.0.1:{}", server::free_port()),
        );
        let path = path.to_str().expect("UTF-8");
        tidemill(dir.path(), &["serve", "--listen", &listen, "--http", &http, "--data-dir", path])
    };
    let second = serve(&data);
    assert_ne!(second.code, 0);
    assert!(second.stderr.contains("data") && second.stderr.contains("use"), "{}", second.stderr);
    assert!(server.is_running());
    let file = dir.path().join("a-file");
    std::fs::write(&file, "not a directory").expect("written");
    let answer = serve(&file);
    assert_ne!(answer.code, 0);
    assert!(
        answer.stderr.contains("a-file") && !answer.stderr.contains("panicked"),
        "{}",
        answer.stderr
    );
}

#[test]
fn start_says_what_to_type_next_and_sigterm_ends_cleanly() {
    let server = Server::ephemeral();
    let hint = format!("psql -h 127.0.0.1 -p {}", server.port);
    let loosely = format!("{}", server.port);
    let says_it = || server.output().contains("psql") && server.output().contains(&loosely);
    // It is said when the ports are open; the pipe may be read a moment later.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !says_it() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(says_it(), "no hint such as {hint:?} in:\n{}", server.output());
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(server.get("/no-such-page").starts_with("HTTP/1.1 404"));
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_the_sessions() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (v INT, ts TIMESTAMP, WATERMARK FOR ts)").await;
    let query = tokio::spawn(async move {
        client.simple_query("SELECT * FROM s EMIT CHANGES").await.map(|_| ())
    });
    let watcher = server.connect().await;
    server::eventually(
        &watcher,
        "SELECT count(*) FROM tidemill.queries WHERE sql LIKE '%FROM s EMIT%'",
        "1",
    )
    .await;
    let status = server.terminate();
    assert!(status.success(), "{status}");
    let error = query.await.expect("no panic").expect_err("the server has gone");
    assert_eq!(server::state(&error), "57P01");
}

#[test]
fn init_scripts_run_at_the_start_and_a_wrong_one_is_refused() {
    let dir = server::directory();
    let good = dir.path().join("good.sql");
    std::fs::write(
        &good,
        "CREATE TABLE t (a INT);\n-- a comment; with a semicolon\nINSERT INTO t VALUES (1), (2);\n",
    )
    .expect("written");
    let server = Server::start(&["--ephemeral", "--init", good.to_str().expect("UTF-8")]);
    assert_eq!(server.psql(&["-tc", "SELECT sum(a) FROM t"]).ok().trim(), "3");
    let bad = dir.path().join("bad.sql");
    std::fs::write(&bad, "SELECT 1;\nSELECT * FROM nothing;\n").expect("written");
    let listen = format!("127.0.0.1:{}", server::free_port());
    let http = format!("127.0.0.1:{}", server::free_port());
    let args = [
        "serve",
        "--ephemeral",
        "--listen",
        &listen,
        "--http",
        &http,
        "--init",
        bad.to_str().expect("UTF-8"),
    ];
    let answer = tidemill(dir.path(), &args);
    assert_ne!(answer.code, 0);
    assert!(answer.stderr.contains("bad.sql:2"), "{}", answer.stderr);
}

#[test]
fn run_prints_results_in_three_formats() {
    let dir = server::directory();
    let script = "CREATE STREAM s (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts);\n\
        INSERT INTO s VALUES ('a', 1, '2024-01-01 00:00:01'), ('b', NULL, '2024-01-01 00:00:02');\n\
        SELECT window_start, k, sum(v) AS total FROM TUMBLE(s, ts, INTERVAL '10 seconds')\n\
        GROUP BY window_start, window_end, k ORDER BY k;\n";
    std::fs::write(dir.path().join("q.sql"), script).expect("written");
    let table = tidemill(dir.path(), &["run", "q.sql"]).ok();
    for text in ["window_start", "total", "2024-01-01 00:00:00"] {
        assert!(table.contains(text), "{table}");
    }
    let csv = tidemill(dir.path(), &["run", "q.sql", "--format", "csv"]).ok();
    let expected = "window_start,k,total\n2024-01-01 00:00:00,a,1\n2024-01-01 00:00:00,b,\n";
    assert_eq!(csv.replace('\r', ""), expected);
    let json = tidemill(dir.path(), &["run", "q.sql", "--format", "json"]).ok();
    let rows: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect();
    assert_eq!(
        (rows.len(), &rows[0]["k"], &rows[1]["total"]),
        (2, &serde_json::json!("a"), &serde_json::Value::Null)
    );
    assert!(!dir.path().join("tidemill-data").exists(), "run leaves nothing behind");
}

#[test]
fn run_stops_at_the_first_error_and_says_where() {
    let dir = server::directory();
    std::fs::write(dir.path().join("a.sql"), "SELECT 'first' AS a;\n\n/* a comment\n of two lines */\nSELECT *\nFROM nothing;\nSELECT 'never' AS b;\n")
        .expect("written");
    std::fs::write(dir.path().join("b.sql"), "SELECT 'other file' AS c;\n").expect("written");
    let answer = tidemill(dir.path(), &["run", "a.sql", "b.sql"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stdout.contains("first"), "{}", answer.stdout);
    assert!(
        !answer.stdout.contains("never") && !answer.stdout.contains("other file"),
        "{}",
        answer.stdout
    );
    let at = ["a.sql:5:", "a.sql:6:"];
    assert!(
        at.iter().any(|at| answer.stderr.contains(at)) && answer.stderr.contains("nothing"),
        "{}",
        answer.stderr
    );
}

#[test]
fn run_ends_a_continuous_query_when_its_file_has_ended() {
    let dir = server::directory();
    let csv = "k,v,ts\na,1,2024-01-01 00:00:01\nb,2,2024-01-01 00:00:11\nnonsense,x,2024-01-01 00:00:12\na,3,2024-01-01 00:00:21\n";
    std::fs::write(dir.path().join("in.csv"), csv).expect("written");
    let script = "CREATE SOURCE f (k TEXT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second')\n\
        WITH (connector = 'file', path = 'in.csv', format = 'csv', header = 'true', mode = 'once');\n\
        SELECT window_start, sum(v) AS total FROM TUMBLE(f, ts, INTERVAL '10 seconds')\n\
        GROUP BY window_start, window_end EMIT ON WINDOW CLOSE;\n\
        SELECT count(*) AS rejected FROM tidemill.rejected_rows;\n";
    std::fs::write(dir.path().join("f.sql"), script).expect("written");
    let answer = tidemill(dir.path(), &["run", "f.sql", "--format", "csv"]).ok();
    let expected = "window_start,total\n2024-01-01 00:00:00,1\n2024-01-01 00:00:10,2\n2024-01-01 00:00:20,3\nrejected\n1\n";
    assert_eq!(answer.replace("\r", "").replace("\n\n", "\n"), expected);
}

#[test]
fn bench_prints_a_line_of_json_for_each_query() {
    let dir = server::directory();
    let args = [
        "bench",
        "q0",
        "qk",
        "--events",
        "20000",
        "--threads",
        "1",
        "--format",
        "json",
        "--compare",
        "batch",
    ];
    let answer = tidemill(dir.path(), &args).ok();
    let rows: Vec<serde_json::Value> = answer
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["query"].as_str()).collect();
    assert_eq!(names, ["q0", "qk"]);
    let keys = "query input threads events wall_s cpu_s events_per_cpu_s peak_rss_mb output_rows epoch_p50_ms epoch_p99_ms \
                batch_wall_s batch_cpu_s batch_output_rows ratio";
    for (row, key) in rows.iter().flat_map(|row| keys.split_whitespace().map(move |key| (row, key)))
    {
        assert!(row.get(key).is_some(), "{key} is missing in {row}");
    }
    assert!(rows.iter().all(|row| row["output_rows"] == row["batch_output_rows"]), "{answer}");
    let unknown = tidemill(dir.path(), &["bench", "q999"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("q999"), "{}", unknown.stderr);
}

#[test]
fn without_a_subcommand_it_serves() {
    let dir = server::directory();
    let (listen, http) = (server::free_port(), server::free_port());
    let mut child = std::process::Command::new(BINARY)
        .env("TIDEMILL_LISTEN", format!("127.0.0.1:{listen}"))
        .env("TIDEMILL_HTTP", format!("127.0.0.1:{http}"))
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let ready = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::net::TcpStream::connect(("127.0.0.1", listen)).is_ok()
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(ready, "it does not listen where TIDEMILL_LISTEN says");
    assert!(dir.path().join("tidemill-data").is_dir());
}
