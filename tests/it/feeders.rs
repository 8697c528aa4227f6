//! Streams that are written to from outside: what is posted over HTTP and comes over sockets is in
//! the stream once it is acknowledged, once, also through crashes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int8Type;
use arrow::ipc::writer::StreamWriter;
use serde_json::Value;

use crate::server::{self, PATIENCE, Server};

/// A post that cannot be sent, or gets no answer, is None: the status, and the answer as JSON.
fn try_post(http: u16, name: &str, headers: &[&str], body: &[u8]) -> Option<(u16, Value)> {
    let mut socket = TcpStream::connect(("127.0.0.1", http)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
    let head = format!(
        "POST /streams/{name} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    // One that is refused is not read to its end.
    let _ = socket.write_all(body);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    if status == 429 {
        assert!(head.to_lowercase().contains("retry-after: 1"), "{head}");
    }
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

fn post(server: &Server, name: &str, headers: &[&str], body: &str) -> (u16, Value) {
    try_post(server.http, name, headers, body.as_bytes()).expect("an answer")
}

/// How many rows were taken, and how many rejected.
fn counted((status, answer): (u16, Value)) -> (i64, i64) {
    assert_eq!(status, 200, "{answer}");
    (answer["taken"].as_i64().expect("a number"), answer["rejected"].as_i64().expect("a number"))
}

/// The status and the SQLSTATE.
fn refused((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["error"]["sqlstate"].as_str().unwrap_or("none").to_owned())
}

const CLICKS: &str = "CREATE STREAM clicks (who TEXT NOT NULL, n INT DEFAULT 7, \
    twice INT GENERATED ALWAYS AS (n * 2) STORED, at TIMESTAMP, \
    WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'http')";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_in_the_stream_in_every_format() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, CLICKS).await;
    server::run(
        &client,
        "CREATE MATERIALIZED VIEW tens AS SELECT window_start, count(*) AS n, sum(twice) AS t \
         FROM TUMBLE(clicks, at, INTERVAL '10 seconds') GROUP BY window_start, window_end",
    )
    .await;
    let lines = "{\"who\":\"a\",\"n\":1,\"at\":\"2026-01-01 00:00:01\"}\n\
                 {\"who\":\"b\",\"at\":\"2026-01-01 00:00:30\"}\n\
                 {\"who\":\"c\",\"n\":null,\"at\":\"2026-01-01T00:00:02Z\",\"more\":[1]}\n";
    // What came together is not late against itself.
    assert_eq!(counted(post(&server, "clicks", &[], lines)), (3, 0));
    let array = "[{\"who\":\"d\",\"n\":2,\"at\":\"2026-01-01 00:00:31\"},\n {\"n\":5}]";
    let json = ["Content-Type: application/json"];
    let (status, answer) = post(&server, "clicks", &json, array);
    assert_eq!((status, &answer["taken"], &answer["rejected"]), (200, &1.into(), &1.into()));
    assert_eq!(answer["errors"][0]["record"], 1);
    let csv = ["Content-Type: text/csv; header=present"];
    let body = "at,who\n2026-01-01 00:00:32,\"e, f\"\n2999-01-01,far\n";
    assert_eq!(counted(post(&server, "public.clicks", &csv, body)), (1, 1));
    let rows = "SELECT who, n, twice FROM clicks ORDER BY who";
    let expected = ["a|1|2", "b|7|14", "c|NULL|NULL", "d|2|4", "e, f|7|14"];
    assert_eq!(server::lines(&client, rows).await, expected);
    server::eventually(&client, "SELECT n, t FROM tens ORDER BY window_start", "2|2\n3|32").await;
    let rejected = "SELECT \"offset\", raw, error FROM tidemill.rejected_rows ORDER BY 1";
    server::run(&client, "SET bytea_output = 'escape'").await;
    assert_eq!(
        server::lines(&client, rejected).await,
        [
            "0|{\"n\":5}|null value in column \"who\" violates not-null constraint",
            "1|2999-01-01,far|column \"at\": the event time is further ahead of the clock than max_future allows",
        ]
    );
    let figures = "SELECT kind, connector, rows, rejected_rows FROM tidemill.streams";
    assert_eq!(server::lines(&client, figures).await, ["embedded log|http|5|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_as_a_whole_and_says_why() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, CLICKS).await;
    server::run(
        &client,
        "CREATE SCHEMA strict; CREATE TABLE a_table (a INT);
         CREATE STREAM by_hand (a INT);
         CREATE STREAM strict.s (a INT) WITH (connector = 'http', on_error = 'fail')",
    )
    .await;
    let row = "{\"who\":\"a\"}";
    let check = |name: &str, headers: &[&str], body: &str, status: u16, state: &str| {
        let answer = post(&server, name, headers, body);
        assert_eq!(refused(answer), (status, state.to_owned()), "{name} {headers:?}");
    };
    check("nowhere", &[], row, 404, "42P01");
    check("no.where", &[], row, 404, "42P01");
    check("a%20b", &[], row, 404, "42P01");
    check("a_table", &[], row, 404, "42809");
    check("by_hand", &[], row, 404, "42809");
    check("clicks", &["Content-Type: image/png"], row, 415, "0A000");
    check("clicks", &["Content-Type: text/plain"], row, 415, "0A000");
    check("clicks", &["Content-Encoding: br"], row, 415, "0A000");
    check("clicks", &["Content-Encoding: gzip"], row, 400, "22P03");
    check("clicks", &["Content-Type: application/vnd.apache.arrow.stream"], row, 400, "22P03");
    check("clicks", &[], "[{\"who\":\"a\"},", 400, "22P02");
    check("clicks", &[&format!("Idempotency-Key: {}", "k".repeat(300))], row, 400, "22023");
    check("strict.s", &[], "{\"a\":1}\n{\"a\":\"x\"}", 400, "22P02");
    assert_eq!(counted(post(&server, "strict.s", &[], "{\"a\":1}\n")), (1, 0));
    assert_eq!(counted(post(&server, "Strict.S", &[], "{\"a\":2}\n")), (1, 0));
    let (status, _) =
        post(&server, "clicks", &["Host: localhost", "Origin: http://evil.example"], row);
    assert_eq!(status, 403);
    let (status, _) = post(&server, "clicks", &["Host: evil.example"], row);
    assert_eq!(status, 403);
    let large = vec![b' '; 17 << 20];
    let answer = try_post(server.http, "clicks", &[], &large);
    assert!(answer.is_none_or(|answer| refused(answer) == (413, "54000".to_owned())));
    assert_eq!(server::value(&client, "SELECT count(*) FROM clicks").await, "0");
    assert_eq!(server::value(&client, "SELECT count(*) FROM strict.s").await, "2");
    assert_eq!(server::value(&client, "SELECT count(*) FROM tidemill.rejected_rows").await, "0");
    server::run(&client, "DROP STREAM clicks").await;
    check("clicks", &[], row, 404, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_repeated_with_its_key_counts_once() {
    let dir = server::directory();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(&client, "CREATE STREAM s (a INT) WITH (connector = 'http')").await;
    server::run(&client, "CREATE STREAM other (a INT) WITH (connector = 'http')").await;
    let key = ["Idempotency-Key: one"];
    let body = "{\"a\":1}\n{\"a\":\"x\"}\n";
    let first = post(&server, "s", &key, body);
    assert_eq!((counted(first.clone()), first.1["repeated"].as_bool()), ((1, 1), None));
    let check_repeated = |server: &Server| {
        let again = post(server, "s", &key, body);
        assert_eq!((counted(again.clone()), again.1["repeated"].as_bool()), ((1, 1), Some(true)));
        assert_eq!(refused(post(server, "s", &key, "{\"a\":2}")), (409, "23505".to_owned()));
    };
    check_repeated(&server);
    // The key is this stream's own.
    assert_eq!(counted(post(&server, "other", &key, body)), (1, 1));
    server.kill();
    let server = Server::durable(dir.path());
    check_repeated(&server);
    let client = server.connect().await;
    let counts = "SELECT name, rows, rejected_rows FROM tidemill.streams ORDER BY name";
    assert_eq!(server::lines(&client, counts).await, ["other|1|1", "s|1|1"]);
    // Another stream of the name knows nothing of it.
    server::run(&client, "DROP STREAM s; CREATE STREAM s (a INT) WITH (connector = 'http')").await;
    assert_eq!(post(&server, "s", &key, body).1["repeated"].as_bool(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_are_repeated_until_they_are_answered_count_once_through_crashes() {
    const POSTS: usize = 200;
    const SENDERS: usize = 4;
    let dir = server::directory();
    let mut server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        "CREATE STREAM s (post INT, row INT) WITH (connector = 'http');
         CREATE MATERIALIZED VIEW v AS SELECT post, count(*) AS n FROM s GROUP BY post",
    )
    .await;
    let port = Arc::new(AtomicU16::new(server.http));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let port = Arc::clone(&port);
            std::thread::spawn(move || {
                for number in (sender..POSTS).step_by(SENDERS) {
                    let row = |row: usize| format!("{{\"post\":{number},\"row\":{row}}}\n");
                    let body: String = (0..3).map(row).collect();
                    let key = format!("Idempotency-Key: post-{number}");
                    loop {
                        let http = port.load(Ordering::Relaxed);
                        match try_post(http, "s", &[&key], body.as_bytes()) {
                            Some((200, _)) => break,
                            _ => std::thread::sleep(Duration::from_millis(20)),
                        }
                    }
                }
            })
        })
        .collect();
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(150 + 100 * round)).await;
        server.kill();
        server = Server::durable(dir.path());
        port.store(server.http, Ordering::Relaxed);
    }
    for sender in senders {
        tokio::task::block_in_place(|| sender.join()).expect("a sender only ends");
    }
    let client = server.connect().await;
    let counts = "SELECT count(*), count(DISTINCT post), count(DISTINCT post * 10 + row) FROM s";
    assert_eq!(server::lines(&client, counts).await, ["600|200|600"]);
    server::eventually(&client, "SELECT count(*), min(n), max(n) FROM v", "200|3|3").await;
}

/// Accepts the next connection.
fn accept(listener: &TcpListener) -> TcpStream {
    let (socket, _) = tokio::task::block_in_place(|| listener.accept()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_socket_are_written_and_it_is_connected_again() {
    let dir = server::directory();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    server::run(
        &client,
        &format!(
            "CREATE STREAM s (k TEXT, v INT, at TIMESTAMP, WATERMARK FOR at) \
             WITH (connector = 'socket', host = '127.0.0.1', port = '{port}', format = 'json');
             CREATE MATERIALIZED VIEW tens AS SELECT window_start, sum(v) AS t \
             FROM TUMBLE(s, at, INTERVAL '10 seconds') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE"
        ),
    )
    .await;
    let line = |k: &str, v: u8, second: u8| {
        format!("{{\"k\":\"{k}\",\"v\":{v},\"at\":\"2026-01-01 00:00:{second:02}\"}}\n")
    };
    let mut socket = accept(&listener);
    let all = line("a", 1, 1) + "nonsense\n" + &line("b", 2, 12);
    // In two parts, the second of which ends within a record.
    let (begin, rest) = all.split_at(30);
    socket.write_all(begin.as_bytes()).expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.write_all(rest.as_bytes()).expect("sent");
    socket.write_all(b"{\"k\":\"half").expect("sent");
    let rows = "SELECT k, v FROM s ORDER BY at";
    server::eventually(&client, rows, "a|1\nb|2").await;
    server::eventually(&client, "SELECT t FROM tens", "1").await;
    drop(socket);
    let mut socket = accept(&listener);
    socket.write_all(line("c", 3, 25).as_bytes()).expect("sent");
    server::eventually(&client, rows, "a|1\nb|2\nc|3").await;
    let rejected =
        "SELECT convert_from(raw, 'UTF8'), error FROM tidemill.rejected_rows ORDER BY \"offset\"";
    let expected = "nonsense|invalid JSON: unexpected \"n\" at character 1\n\
                    {\"k\":\"half|the connection ended within the record";
    server::eventually(&client, rejected, expected).await;
    let sockets = "SELECT name, state, connects, error FROM tidemill.sockets";
    let ended = "the other side has ended the connection";
    assert_eq!(server::lines(&client, sockets).await, [format!("s|connected|2|{ended}")]);
    // After a restart it goes on, and what was there is there.
    server.kill();
    drop(socket);
    let server = Server::durable(dir.path());
    let client = server.connect().await;
    let mut socket = accept(&listener);
    socket.write_all(line("d", 4, 31).as_bytes()).expect("sent");
    server::eventually(&client, rows, "a|1\nb|2\nc|3\nd|4").await;
    server::eventually(&client, "SELECT t FROM tens ORDER BY window_start", "1\n2\n3").await;
    server::run(&client, "DROP STREAM s CASCADE").await;
    let ended = tokio::task::block_in_place(|| socket.read(&mut [0]));
    assert_eq!(ended.expect("the other side has closed it"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_a_socket_is_counted_by_word() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(
        &client,
        &format!(
            "CREATE STREAM lines (line TEXT, came TIMESTAMPTZ DEFAULT now()) \
             WITH (connector = 'socket', host = 'localhost', port = {port});
             CREATE MATERIALIZED VIEW words AS SELECT word, count(*) AS n \
             FROM lines, unnest(string_to_array(line, ' ')) AS word GROUP BY word"
        ),
    )
    .await;
    let mut socket = accept(&listener);
    socket.write_all("the tide\r\nthe mill\n\n".as_bytes()).expect("sent");
    server::eventually(&client, "SELECT count(*), count(came) FROM lines", "3|3").await;
    let words = "SELECT word, n FROM words WHERE word <> '' ORDER BY word";
    server::eventually(&client, words, "mill|1\nthe|2\ntide|1").await;
    // Nobody is there, and then somebody is.
    drop((socket, listener));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port again");
    let mut socket = accept(&listener);
    socket.write_all(b"tide\n").expect("sent");
    server::eventually(&client, words, "mill|1\nthe|2\ntide|2").await;
}

/// An Arrow stream of two batches, a dictionary among the columns.
fn arrow_stream() -> Vec<u8> {
    let who: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("who", Arc::new(who)),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(1 << 40)]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a stream");
    writer.write(&batch).expect("written");
    writer.write(&batch.slice(0, 1)).expect("written");
    writer.into_inner().expect("an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrow_stream_is_taken_and_a_broken_one_harms_nobody() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    server::run(&client, CLICKS).await;
    let arrow = ["Content-Type: application/vnd.apache.arrow.stream"];
    let body = arrow_stream();
    let answer = try_post(server.http, "clicks", &arrow, &body).expect("an answer");
    assert_eq!(answer.1["errors"][0]["message"], "integer out of range");
    assert_eq!(counted(answer), (3, 1));
    let rows = "SELECT who, n, count(*) FROM clicks GROUP BY who, n ORDER BY who, n";
    assert_eq!(server::lines(&client, rows).await, ["a|1|2", "b|NULL|1"]);
    let mut seed: u64 = 7;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..300 {
        let mut broken = body.clone();
        for _ in 0..3 {
            let at = next(broken.len());
            broken[at] = next(256) as u8;
        }
        broken.truncate(broken.len() - next(2) * next(100));
        let (status, answer) = try_post(server.http, "clicks", &arrow, &broken).expect("an answer");
        assert!([200, 400, 415].contains(&status), "{status} {answer}: {broken:?}");
    }
    assert!(server.is_running());
    // Of what it says of itself no more is believed than there is.
    let mut large = vec![0xFF; 4];
    large.extend([0x00, 0x00, 0x00, 0x7F]);
    let answer = try_post(server.http, "clicks", &arrow, &large).expect("an answer");
    assert_eq!(refused(answer), (400, "22P03".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_posts_faster_than_a_view_reads_is_told_to_come_again() {
    let server = Server::ephemeral();
    let client = server.connect().await;
    let slow = "levenshtein(repeat(k::text, 100), repeat('abcd', 200)) >= 0";
    server::run(
        &client,
        &format!(
            "CREATE STREAM s (k INT) WITH (connector = 'http', max_lag = '200 ms');
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s WHERE {slow}"
        ),
    )
    .await;
    assert_eq!(server::lines(&client, "SELECT n FROM v").await, ["0"]);
    let rows: String = (0..20_000).map(|k| format!("{{\"k\":{k}}}\n")).collect();
    assert_eq!(counted(post(&server, "s", &[], &rows)), (20_000, 0));
    let begun = std::time::Instant::now();
    let refusal = loop {
        let answer = post(&server, "s", &[], "{\"k\":1}");
        if answer.0 != 200 {
            break refused(answer);
        }
        assert!(begun.elapsed() < PATIENCE, "nobody was held back");
    };
    assert_eq!(refusal, (429, "53400".to_owned()));
    server::run(&client, "DROP MATERIALIZED VIEW v").await;
    assert_eq!(counted(post(&server, "s", &[], "{\"k\":1}")), (1, 0));
}
