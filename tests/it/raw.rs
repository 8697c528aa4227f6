//! The protocol, byte by byte: what no driver would send, and what the server must survive.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::server::{self, Server};

/// A connection without a driver.
struct Wire(TcpStream);

impl Wire {
    fn open(server: &Server) -> Wire {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        Wire(socket)
    }

    fn login(server: &Server) -> Wire {
        let mut wire = Wire::open(server);
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        body.extend_from_slice(b"user\0tester\0database\0tidemill\0\0");
        wire.bytes(&[&(body.len() as i32 + 4).to_be_bytes()[..], &body].concat());
        wire.until(b'Z');
        wire
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sent");
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        self.bytes(&[&[kind][..], &(body.len() as i32 + 4).to_be_bytes(), body].concat());
    }

    fn query(&mut self, sql: &str) {
        self.message(b'Q', format!("{sql}\0").as_bytes());
    }

    /// The next message, or None if the server has hung up.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        if let Err(error) = self.0.read_exact(&mut head) {
            let waited = matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            );
            assert!(!waited, "the server neither answers nor hangs up");
            return None;
        }
        let length = i32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// Reads up to and including a message of that kind; gives the kinds seen.
    fn until(&mut self, kind: u8) -> String {
        let mut seen = String::new();
        while let Some((found, _)) = self.next() {
            seen.push(found as char);
            if found == kind {
                return seen;
            }
        }
        panic!("the server hung up after {seen:?}");
    }

    /// The SQLSTATE of the next error; None if the server hangs up without one.
    fn error(&mut self) -> Option<String> {
        while let Some((kind, body)) = self.next() {
            if kind == b'E' {
                let fields = body.split(|byte| *byte == 0);
                let code = fields.filter_map(|field| field.strip_prefix(b"C")).next();
                return code.map(|code| String::from_utf8_lossy(code).into_owned());
            }
        }
        None
    }
}

fn assert_alive(server: &Server) {
    let mut wire = Wire::login(server);
    wire.query("SELECT 1");
    assert_eq!(wire.until(b'Z'), "TDCZ");
    assert!(server.is_running());
}

#[test]
fn garbage_ends_only_its_own_connection() {
    let server = server::shared();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        b"\0\0\0\x08\x12\x34\x56\x78",
    ] {
        let mut wire = Wire::open(server);
        wire.bytes(garbage);
        let _ = wire.0.shutdown(Shutdown::Write);
        while wire.next().is_some() {}
    }
    assert_alive(server);
}

#[test]
fn a_length_word_over_the_limit_is_refused_before_anything_is_buffered() {
    let server = Server::ephemeral();
    let mut before_login = Wire::open(&server);
    before_login.bytes(&(1_i32 << 30).to_be_bytes());
    before_login.bytes(&196_608_i32.to_be_bytes());
    let _ = before_login.error();
    let mut wire = Wire::login(&server);
    let before = server.memory("VmRSS");
    wire.bytes(b"Q");
    wire.bytes(&(900_i32 << 20).to_be_bytes());
    // The answer must not wait for the rest of the message, which never comes.
    let state = wire.error().expect("an error before the server hangs up");
    assert!(["08P01", "54000", "53400"].contains(&state.as_str()), "{state}");
    let mut negative = Wire::login(&server);
    negative.bytes(b"Q\xff\xff\xff\xff");
    let _ = negative.error();
    assert!(server.memory("VmRSS") < before + 200, "memory grew with a length word");
    assert_alive(&server);
}

#[test]
fn an_unknown_message_is_a_protocol_violation() {
    let server = server::shared();
    let mut wire = Wire::login(server);
    wire.message(b'!', b"what");
    if let Some(state) = wire.error() {
        assert_eq!(state, "08P01");
    }
    assert_alive(server);
}

#[test]
fn tls_is_declined_politely_and_the_connection_goes_on() {
    let mut wire = Wire::open(server::shared());
    wire.bytes(&[0, 0, 0, 8, 4, 210, 22, 47]);
    let mut answer = [0];
    wire.0.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"N");
    let body = b"\0\x03\0\0user\0tester\0\0";
    wire.bytes(&[&(body.len() as i32 + 4).to_be_bytes()[..], body].concat());
    wire.until(b'Z');
}

#[test]
fn after_an_error_the_extended_protocol_skips_to_sync() {
    let mut wire = Wire::login(server::shared());
    wire.message(b'P', b"\0SELECT * FROM no_such_thing\0\0\0");
    wire.message(b'B', b"\0\0\0\0\0\0\0\0");
    wire.message(b'E', b"\0\0\0\0\0");
    wire.message(b'S', b"");
    assert_eq!(wire.until(b'Z'), "EZ");
    wire.message(b'P', b"\0\0\0\0");
    wire.message(b'B', b"\0\0\0\0\0\0\0\0");
    wire.message(b'E', b"\0\0\0\0\0");
    wire.message(b'S', b"");
    assert_eq!(wire.until(b'Z'), "12IZ", "an empty statement has an answer of its own");
}

#[test]
fn a_portal_is_suspended_at_its_row_limit_and_goes_on() {
    let mut wire = Wire::login(server::shared());
    wire.message(b'P', b"\0SELECT * FROM (VALUES (1), (2), (3)) AS t (a)\0\0\0");
    wire.message(b'B', b"p\0\0\0\0\0\0\0\0");
    for _ in 0..2 {
        wire.message(b'E', b"p\0\0\0\0\x02");
    }
    wire.message(b'S', b"");
    assert_eq!(wire.until(b'Z'), "12DDsDCZ");
}

#[test]
fn a_failed_transaction_refuses_everything_but_its_end() {
    let mut wire = Wire::login(server::shared());
    wire.query("BEGIN");
    while let Some((kind, body)) = wire.next() {
        if kind == b'Z' {
            assert_eq!(body, b"T");
            break;
        }
    }
    wire.query("SELECT nonsense");
    wire.until(b'Z');
    wire.query("SELECT 1");
    assert_eq!(wire.error().as_deref(), Some("25P02"));
    let (kind, body) = wire.next().expect("ready again");
    assert_eq!((kind, body.as_slice()), (b'Z', &b"E"[..]));
    wire.query("ROLLBACK");
    wire.until(b'C');
    let (kind, body) = wire.next().expect("ready again");
    assert_eq!((kind, body.as_slice()), (b'Z', &b"I"[..]));
}

#[test]
fn several_statements_in_one_query_stop_at_the_first_error() {
    let mut wire = Wire::login(server::shared());
    wire.query("SELECT 1; SELECT nonsense; SELECT 2");
    assert_eq!(wire.until(b'Z'), "TDCEZ");
    wire.query("");
    assert_eq!(wire.until(b'Z'), "IZ");
}

#[test]
fn a_cancel_request_with_a_wrong_key_does_nothing() {
    let server = server::shared();
    let mut wire = Wire::open(server);
    let words = [16_i32, 80_877_102, 1, 12_345];
    wire.bytes(&words.map(i32::to_be_bytes).concat());
    assert!(wire.next().is_none());
    assert_alive(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_takes_its_query_with_it() {
    let server = server::shared();
    let client = server.connect().await;
    let stream = server::unique("vanish");
    server::run(
        &client,
        &format!("CREATE STREAM {stream} (v INT, ts TIMESTAMP, WATERMARK FOR ts)"),
    )
    .await;
    let queries =
        format!("SELECT count(*) FROM tidemill.queries WHERE sql LIKE '%FROM {stream} EMIT%'");
    let sql = format!("COPY (SELECT v FROM {stream} EMIT CHANGES) TO STDOUT");
    let wire = tokio::task::spawn_blocking(move || {
        let mut wire = Wire::login(server);
        wire.query(&sql);
        wire.until(b'H');
        wire
    });
    let wire = wire.await.expect("copy begins");
    server::eventually(&client, &queries, "1").await;
    drop(wire);
    server::eventually(&client, &queries, "0").await;
    server::run(&client, &format!("DROP STREAM {stream}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_too_complex_are_refused_and_nothing_falls_over() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await;
    let ors = (0..5_000).map(|i| format!("a = {i}")).collect::<Vec<_>>().join(" OR ");
    assert_eq!(server::failure(&client, &format!("SELECT * FROM t WHERE {ors}")).await, "54001");
    let sum = vec!["1"; 20_000].join(" + ");
    assert_eq!(server::failure(&client, &format!("SELECT {sum}")).await, "54001");
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(server::failure(&client, &deep).await, "54001");
    let nested = format!("SELECT {}1{}", "abs(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(server::failure(&client, &nested).await, "54001");
    let subqueries =
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(2_000), ") AS q".repeat(2_000));
    assert_eq!(server::failure(&client, &subqueries).await, "54001");
    assert_eq!(server::failure(&client, &"(".repeat(200_000)).await.len(), 5);
    // An everyday query with many terms still runs.
    let list = (0..1_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(
        server::value(&client, &format!("SELECT count(*) FROM t WHERE a IN ({list})")).await,
        "1"
    );
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_string_is_refused_and_takes_no_gigabyte() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    for sql in [
        "SELECT repeat('x', 1000000000)",
        "SELECT length(repeat(repeat('x', 100000), 100000))",
        "SELECT lpad('x', 1000000000, 'y')",
        "SELECT rpad('x', 2000000000)",
        "SELECT count(*) FROM (VALUES (repeat('x', 1000000000))) AS t (a)",
        "SELECT sum(length(repeat('x', 60000000))) FROM generate_series(1, 100)",
        "SELECT unnest(generate_series(1, 100000000000)) LIMIT 1",
        "SELECT generate_series(1, 2000000000, 2)",
        "SELECT array_length(array_repeat('x', 10000000000), 1)",
        "SELECT * FROM generate_series(TIMESTAMP '2000-01-01', TIMESTAMP '2026-01-01', INTERVAL '1 microsecond')",
    ] {
        let result = tokio::time::timeout(server::PATIENCE, client.simple_query(sql))
            .await
            .expect("an answer");
        if let Err(error) = result {
            let state = server::state(&error);
            assert!(
                ["53200", "54000", "53400", "22023", "54001"].contains(&state.as_str()),
                "{state}: {sql}"
            );
        }
        assert!(server.is_running(), "{sql}");
    }
    assert!(server.memory("VmHWM") < 2_000, "peak memory was {} MiB", server.memory("VmHWM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_timeout_ends_what_would_not_end() {
    let client = server::shared().connect().await;
    server::run(&client, "SET statement_timeout = '300 ms'").await;
    let endless = "SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b, \
                   generate_series(1, 100000) AS c WHERE a.value + b.value = c.value * 7 + 1000000000";
    let begun = std::time::Instant::now();
    assert_eq!(server::failure(&client, endless).await, "57014");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server::value(&client, "SELECT 1").await, "1");
}

/// As many endless queries as there are threads, and more: others are still answered, also while
/// they are being ended.
#[tokio::test(flavor = "multi_thread")]
async fn queries_without_end_do_not_keep_others_waiting() {
    let server = Server::start(&["--ephemeral", "--threads", "2"]);
    let much = "FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b";
    let mut running = Vec::new();
    for condition in ["", "WHERE a < b - 1000001", "WHERE a * b = -1", ""] {
        let endless = format!("SELECT count(*) {much} {condition}");
        let client = server.connect().await;
        let cancel = client.cancel_token();
        let task = tokio::spawn(async move { server::failure(&client, &endless).await });
        running.push((task, cancel));
    }
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (v INT, ts TIMESTAMP, WATERMARK FOR ts); CREATE MATERIALIZED VIEW t AS SELECT sum(v) AS v FROM s")
        .await;
    // Each of these comes and goes through the same threads. With a minute of patience each, none
    // would be answered in time if it had to wait for the end of the others.
    for n in 1..=20 {
        server::run(&client, "INSERT INTO s VALUES (1, '2026-01-01')").await;
        assert_eq!(server::value(&client, "SELECT v FROM t").await, n.to_string());
    }
    for (task, cancel) in running {
        assert!(!task.is_finished(), "they do not end");
        cancel.cancel_query(tokio_postgres::NoTls).await.expect("the server takes it");
        assert_eq!(task.await.expect("no panic"), "57014");
    }
    assert_eq!(server::value(&client, "SELECT 1").await, "1");
    // And they are over.
    server.rests().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let server = Server::start(&["--ephemeral", "--max-connections", "3"]);
    // The probe that waited for readiness may still be closing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.connect().await);
    }
    let refused = server.try_connect("").await.expect_err("the fourth is one too many");
    assert_eq!(server::state(&refused), "53300");
    assert_eq!(server::value(&held[0], "SELECT 1").await, "1");
    held.pop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = server.try_connect("").await.expect("there is room again");
    assert_eq!(server::value(&again, "SELECT 1").await, "1");
}

#[test]
fn half_open_connections_do_not_keep_a_login_out() {
    let server = Server::ephemeral();
    let mut silent: Vec<Wire> = (0..300).map(|_| Wire::open(&server)).collect();
    assert_alive(&server);
    // As many as one address may have stay, the oldest gave way, and were told so.
    assert_eq!(silent[0].error().as_deref(), Some("53300"));
    let youngest = silent.last_mut().expect("there are some");
    let body = b"\0\x03\0\0user\0tester\0\0";
    youngest.bytes(&[&(body.len() as i32 + 4).to_be_bytes()[..], body].concat());
    youngest.until(b'Z');
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_sockets_are_opened_the_store_has_its_descriptors() {
    const DESCRIPTORS: usize = 400;
    let dir = server::directory();
    let path = dir.path().to_str().expect("a path in UTF-8");
    let server = Server::start_with_descriptors(DESCRIPTORS, &["--data-dir", path]);
    let writer = server.connect().await;
    server::run(&writer, "CREATE STREAM s (v BIGINT)").await;
    let mut clients = Vec::new();
    while let Ok(client) = server.try_connect("").await {
        clients.push(client);
        assert!(clients.len() < DESCRIPTORS, "there is no end of them");
    }
    let sockets = |port: u16| (0..200).map(move |_| TcpStream::connect(("127.0.0.1", port)));
    let silent: Vec<_> = sockets(server.port).chain(sockets(server.http)).collect();
    for round in 0..20 {
        server::run(&writer, &format!("INSERT INTO s VALUES ({round})")).await;
        // A quarter each is the store's and in reserve; a listener each, and what the runtime has.
        let open = server.sockets();
        assert!(open <= DESCRIPTORS / 2 + 8, "{open} sockets beside {} clients", clients.len());
    }
    drop((silent, clients));
    assert_eq!(server::value(&writer, "SELECT count(*) FROM s").await, "20");
}

#[test]
fn a_login_that_is_not_completed_in_time_is_ended_with_an_error() {
    let server = server::shared();
    let (mut silent, mut halfway) = (Wire::open(server), Wire::open(server));
    halfway.bytes(b"\0\0\0\x20\0\x03");
    assert_eq!(silent.error().as_deref(), Some("57014"));
    assert_eq!(halfway.error().as_deref(), Some("57014"));
    assert!(halfway.next().is_none(), "and it is closed");
}
