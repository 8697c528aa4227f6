//! The real psql: its backslash commands, live answers, Ctrl-C, errors with a caret.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::server::{self, Server};

/// psql's commands and what must stand in their answers.
const ANSWERS: &[(&str, &[&str])] = &[
    (r"\d", &["clicks|table", "people|table", "adults|view", "totals|materialized view"]),
    (r"\d+", &["clicks|table", "totals|materialized view"]),
    (
        r"\d people",
        &["who|text||not null|", "age|smallint|||", "\"people_pkey\" PRIMARY KEY, btree (who)"],
    ),
    (r"\d+ people", &["who|text||not null|", "\"people_pkey\" PRIMARY KEY, btree (who)"]),
    (r"\d people_pkey", &["who|text|yes|who", "primary key, btree, for table \"public.people\""]),
    (r"\d clicks", &["who|text||not null|", "n|integer|||1", "at|timestamp(3) without time zone"]),
    (r"\d adults", &["View \"public.adults\"", "who|text"]),
    (r"\d+ adults", &["View definition:", "SELECT who FROM people WHERE age >= 18"]),
    (r"\d totals", &["Materialized view \"public.totals\"", "who|text", "clicks|bigint"]),
    (r"\d+ totals", &["View definition:", "SELECT who, count(*) AS clicks"]),
    (r"\d tidemill.queries", &["state|text", "late_rows|bigint", "watermark"]),
    (r"\d *eop*", &["Table \"public.people\"", "Index \"public.people_pkey\""]),
    (r"\dS pg_type", &["pg_catalog.pg_type"]),
    (r"\dt", &["people|table", "clicks|table"]),
    (r"\dt+", &["people|table"]),
    (r"\dt *.*", &["pg_catalog|pg_class|table"]),
    (r"\dv", &["adults|view"]),
    (r"\dv+", &["adults|view"]),
    (r"\dv tidemill.*", &["tidemill|queries|view"]),
    (r"\dm", &["totals|materialized view"]),
    (r"\dm+", &["totals|materialized view"]),
    (r"\di", &["people_pkey|index", "people"]),
    (r"\di+", &["people_pkey|index"]),
    (r"\dn", &["public|tester", "tidemill|tester"]),
    (r"\dn+", &["public|tester"]),
    (r"\df", &["advance_watermark"]),
    (r"\df+", &["advance_watermark"]),
    (r"\df advance*", &["public|advance_watermark|timestamp without time zone|stream text"]),
    (r"\df pg_catalog.abs", &["abs"]),
    (r"\dfn", &["advance_watermark"]),
    (r"\da sum", &["pg_catalog|sum"]),
    (r"\do =", &["integer|integer|boolean"]),
    (r"\dT int4", &["pg_catalog|integer"]),
    (r"\dT+ int4", &["pg_catalog|integer|int4|4"]),
    (r"\dC", &["bigint|integer"]),
    (r"\dC+", &["bigint|integer"]),
    (r"\dLS", &["internal|tester"]),
    (r"\dL+", &["plpgsql"]),
    (r"\dconfig work_mem", &["work_mem|4MB"]),
    (r"\dconfig+ work_mem", &["work_mem|4MB"]),
    (r"\dp", &["public|people|table", "public|totals|materialized view"]),
    (r"\z people", &["public|people|table"]),
    (r"\db", &["pg_default"]),
    (r"\db+", &["pg_default"]),
    (r"\dcS utf8_to_win", &[]),
    (r"\dF", &["english"]),
    (r"\dF+ english", &["Text search configuration"]),
    (r"\dFd", &["english_stem"]),
    (r"\dFp", &["default"]),
    (r"\dFt", &["snowball"]),
    (r"\dg", &["tester"]),
    (r"\du", &["tester|Superuser"]),
    (r"\du+", &["tester|Superuser"]),
    (r"\l", &["tidemill|tester|UTF8"]),
    (r"\l+", &["tidemill|tester|UTF8"]),
    (r"\sv adults", &["SELECT who FROM people WHERE age >= 18"]),
    (r"\sf advance_watermark", &["FUNCTION public.advance_watermark(stream text"]),
    (r"\dOS ucs_basic", &["ucs_basic"]),
    (r"\dA", &["btree|Index", "heap|Table"]),
    (r"\dA+", &["btree|Index"]),
    (r"\dAc btree int4", &["integer||int4_ops|yes"]),
    (r"\dAf btree int4", &["integer_ops"]),
    (r"\dAo btree integer_ops", &["<(integer,integer)"]),
    (r"\dAp btree integer_ops", &["integer_ops"]),
    (r"\conninfo", &["tidemill"]),
    (r"\encoding", &["UTF8"]),
];

/// Those that answer that there is nothing.
const EMPTY: &[&str] = &[
    r"\dt tidemill.*",
    r"\ds",
    r"\da",
    r"\do",
    r"\dT",
    r"\dT+",
    r"\dL",
    r"\dD",
    r"\dx",
    r"\dx+",
    r"\dy",
    r"\dy+",
    r"\drds",
    r"\dRp",
    r"\dRp+",
    r"\dRs",
    r"\dRs+",
    r"\dc",
    r"\dc+",
    r"\dE",
    r"\des",
    r"\deu",
    r"\dew",
    r"\det",
    r"\dX",
    r"\dO",
    r"\dPt",
    r"\dP+",
    r"\dd",
    r"\ddp",
    r"\dl",
    r"\dl+",
    r"\dconfig",
    r"\dfa",
    r"\dfp",
    r"\dft",
    r"\dfw",
    r"\dn+ nothing",
];

#[tokio::test(flavor = "multi_thread")]
async fn backslash_commands_answer_sensibly() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM clicks (who TEXT NOT NULL, n INT DEFAULT 1, at TIMESTAMP(3), WATERMARK FOR at);
         CREATE TABLE people (who TEXT PRIMARY KEY, age SMALLINT);
         CREATE VIEW adults AS SELECT who FROM people WHERE age >= 18;
         CREATE MATERIALIZED VIEW totals AS SELECT who, count(*) AS clicks FROM clicks GROUP BY who",
    )
    .await;
    drop(client);
    for (command, expected) in
        ANSWERS.iter().copied().chain(EMPTY.iter().map(|command| (*command, [].as_slice())))
    {
        let answer = server.psql(&["-c", command]);
        assert!(!answer.stderr.contains("ERROR"), "{command}: {}", answer.stderr);
        for text in expected {
            assert!(
                answer.stdout.contains(text),
                "{command} does not show {text:?}:\n{}",
                answer.stdout
            );
        }
    }
    let dm = server.psql(&["-c", r"\dm"]).ok();
    assert!(!dm.contains("people") && !dm.contains("adults"), "{dm}");
    let unknown = server.psql(&["-c", r"\d nothing_here"]);
    // A quiet psql says nothing when it finds nothing, and nothing else either.
    assert!(unknown.stdout.trim().is_empty(), "{}", unknown.stdout);
    assert!(!unknown.stderr.contains("ERROR"), "{}", unknown.stderr);
}

#[test]
fn an_error_has_its_code_and_a_caret_under_its_place() {
    let server = server::shared();
    let answer = server.psql(&["-v", "VERBOSITY=verbose", "-c", "SELECT 1 FROM WHERE x"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("42601"), "{}", answer.stderr);
    let lines: Vec<&str> = answer.stderr.lines().collect();
    let line =
        lines.iter().position(|line| line.starts_with("LINE 1: ")).expect("the line is quoted");
    let caret = lines[line + 1].find('^').expect("with a caret under it");
    assert_eq!(&lines[line][caret..caret + 5], "WHERE", "{}", answer.stderr);
    let unknown = server.psql(&["-v", "VERBOSITY=verbose", "-c", "SELECT * FROM no_such_thing"]);
    assert!(
        unknown.stderr.contains("42P01: relation \"no_such_thing\" does not exist"),
        "{}",
        unknown.stderr
    );
    let umlaut = server.psql(&["-c", "SELECT 'ü', 1 FORM"]);
    assert!(umlaut.code == 0 || umlaut.stderr.contains('^'), "{}", umlaut.stderr);
}

#[test]
fn psql_prints_its_own_formats() {
    let server = server::shared();
    assert_eq!(server.psql(&["-tc", "SELECT 1, NULL, 'a', true, 1.50"]).ok(), "1||a|t|1.50\n");
    assert_eq!(server.psql(&["--csv", "-c", "SELECT 'a,b' AS x"]).ok(), "x\n\"a,b\"\n");
    let dir = server::directory();
    let script = dir.path().join("gset.sql");
    std::fs::write(&script, "SELECT 41 + 1 AS x \\gset\n\\echo :x\n").expect("written");
    assert_eq!(server.psql(&["-f", script.to_str().expect("UTF-8")]).ok(), "42\n");
    assert_eq!(server.psql(&["-c", "COPY (SELECT 1, NULL) TO STDOUT"]).ok(), "1\t\\N\n");
}

#[test]
fn psql_reads_files_with_copy_and_stops_where_asked() {
    let (server, dir) = (server::shared(), server::directory());
    let name = server::unique("file");
    let script = dir.path().join("script.sql");
    let text = format!(
        "CREATE TABLE {name} (a INT, b TEXT);\nCOPY {name} FROM STDIN;\n1\tone\n2\t\\N\n\\.\n\
         COPY {name} FROM STDIN WITH (FORMAT csv, HEADER);\na,b\n3,\"th\"\"ree\"\n\\.\nSELECT * FROM {name} ORDER BY a;\n"
    );
    std::fs::write(&script, text).expect("written");
    let script = script.to_str().expect("UTF-8");
    let answer = server.psql(&["-t", "-v", "ON_ERROR_STOP=1", "-f", script]).ok();
    assert_eq!(answer, "1|one\n2|\n3|th\"ree\n");
}

/// A psql whose lines are read as they come.
struct Live {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Live {
    fn start(server: &Server, args: &[&str]) -> Live {
        let plain = server.psql_command();
        let mut command = Command::new("stdbuf");
        // A pipe makes psql write in blocks; a terminal would not.
        command.args(["-oL", "psql"]).args(plain.get_args()).args(args).stdin(Stdio::null());
        command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().expect("stdbuf (coreutils) and psql (postgresql-client) are there");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Live { child, lines }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(30))
            .expect("a line, while the query is still running")
    }

    /// Ctrl-C; what psql then says on stderr. One that comes between two statements (psql's FETCHes)
    /// finds nothing to be cancelled, so it is pressed until psql has ended.
    fn interrupt(mut self) -> String {
        let stderr = BufReader::new(self.child.stderr.take().expect("piped"));
        let said = std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
        });
        let begun = std::time::Instant::now();
        while self.child.try_wait().expect("the child is ours").is_none() {
            assert!(begun.elapsed() < server::PATIENCE, "psql does not end");
            server::signal("INT", self.child.id());
            for _ in 0..20 {
                if self.child.try_wait().expect("the child is ours").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        said.join().expect("no panic")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn stream_with_view() -> (tokio_postgres::Client, String, String) {
    let client = server::shared().connect().await;
    let (stream, view) = (server::unique("s"), server::unique("v"));
    server::run(
        &client,
        &format!(
            "CREATE STREAM {stream} (k TEXT, ts TIMESTAMP, WATERMARK FOR ts);
             CREATE MATERIALIZED VIEW {view} AS SELECT k, count(*) AS n FROM {stream} GROUP BY k;
             INSERT INTO {stream} VALUES ('a', '2024-01-01')"
        ),
    )
    .await;
    (client, stream, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_subscribe_prints_changes_as_they_come() {
    let (client, stream, view) = stream_with_view().await;
    let live = Live::start(server::shared(), &["-c", &format!("SUBSCRIBE {view}")]);
    let fields = |line: String| line.split('\t').skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(fields(live.line()), "1 a 1");
    server::run(&client, &format!("INSERT INTO {stream} VALUES ('b', '2024-01-01 00:00:01')"))
        .await;
    assert_eq!(fields(live.line()), "1 b 1");
    server::run(&client, &format!("INSERT INTO {stream} VALUES ('b', '2024-01-01 00:00:02')"))
        .await;
    let mut both = [fields(live.line()), fields(live.line())];
    both.sort();
    assert_eq!(both, ["-1 b 1", "1 b 2"]);
    let said = tokio::task::spawn_blocking(move || live.interrupt()).await.expect("no panic");
    assert!(said.to_lowercase().contains("cancel"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_count_makes_a_continuous_select_live() {
    let (client, stream, view) = stream_with_view().await;
    let sql = format!("SELECT k, ts FROM {stream} WHERE k <> 'x' EMIT CHANGES");
    // Not unaligned: there psql ends a line only when the next row has come.
    let live = Live::start(server::shared(), &["--csv", "-t", "-v", "FETCH_COUNT=1", "-c", &sql]);
    assert_eq!(live.line(), "a,2024-01-01 00:00:00");
    for second in 1..4 {
        let at = format!("2024-01-01 00:00:0{second}");
        server::run(&client, &format!("INSERT INTO {stream} VALUES ('x', '{at}'), ('b', '{at}')"))
            .await;
        assert_eq!(live.line(), format!("b,{at}"));
    }
    let said = tokio::task::spawn_blocking(move || live.interrupt()).await.expect("no panic");
    assert!(said.to_lowercase().contains("cancel"), "{said}");
    assert_eq!(server::value(&client, &format!("SELECT sum(n) FROM {view}")).await, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_of_a_continuous_query_is_live_and_a_limit_ends_it() {
    let (client, stream, _) = stream_with_view().await;
    let sql = format!(
        "COPY (SELECT k FROM {stream} EMIT CHANGES LIMIT 2) TO STDOUT WITH (FORMAT csv, HEADER)"
    );
    let mut live = Live::start(server::shared(), &["-c", &sql]);
    assert_eq!((live.line(), live.line()), ("k".to_owned(), "a".to_owned()));
    server::run(
        &client,
        &format!("INSERT INTO {stream} VALUES ('b', '2024-01-02'), ('c', '2024-01-02')"),
    )
    .await;
    assert_eq!(live.line(), "b");
    let status = tokio::task::spawn_blocking(move || live.child.wait())
        .await
        .expect("no panic")
        .expect("it ends");
    assert!(status.success(), "{status}");
}
