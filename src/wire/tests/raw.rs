//! With bytes, as no driver would.

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::limits;

/// A client that writes what it is told, and reads message by message.
struct Raw(TcpStream);

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.put_u32(body.len() as u32 + 4);
    bytes.put_slice(body);
    bytes
}

fn startup(version: u32, pairs: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(pairs.len() as u32 + 9);
    bytes.put_u32(version);
    bytes.put_slice(pairs);
    bytes.put_u8(0);
    bytes
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A Bind without parameters, all results in text.
fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

fn execute(portal: &str, most: u8) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.put_u32(u32::from(most));
    message(b'E', &body)
}

impl Raw {
    async fn open(server: &Server) -> Self {
        Self(TcpStream::connect(("127.0.0.1", server.port)).await.unwrap())
    }

    async fn login(server: &Server) -> Self {
        let mut raw = Self::open(server).await;
        raw.say(&startup(196_608, b"user\0me\0")).await;
        let greeting = raw.until_ready().await;
        assert!(greeting.starts_with('R') && greeting.ends_with("KZ(I)"), "{greeting}");
        raw
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn ask(&mut self, messages: &[Vec<u8>]) -> String {
        self.say(&messages.concat()).await;
        self.until_ready().await
    }

    /// The next message, shortened: its type, and what matters of its body. None: closed.
    async fn hear(&mut self) -> Option<String> {
        let mut head = [0; 5];
        let read = timeout(Duration::from_secs(20), self.0.read_exact(&mut head))
            .await
            .expect("an answer");
        read.ok()?;
        let mut body = vec![0; (&head[1..]).get_u32() as usize - 4];
        self.0.read_exact(&mut body).await.ok()?;
        let tag = char::from(head[0]);
        let text = String::from_utf8_lossy(&body);
        Some(match tag {
            'E' => {
                let code = text.split('\0').find_map(|field| field.strip_prefix('C')).unwrap();
                format!("E({code})")
            }
            'Z' => format!("Z({text})"),
            'C' => format!("C({})", text.trim_end_matches('\0')),
            'D' => format!("D({})", text[6..].trim_start_matches('\0')),
            other => other.to_string(),
        })
    }

    async fn until_ready(&mut self) -> String {
        let mut heard = String::new();
        while let Some(message) = self.hear().await {
            heard += &message;
            if message.starts_with('Z') {
                return heard;
            }
        }
        heard + "closed"
    }
}

#[tokio::test]
async fn garbage_instead_of_a_startup_is_refused_and_harms_nobody() {
    let server = Server::start(10).await;
    let mut good = Raw::login(&server).await;
    let check = async |bytes: &[u8], expect: &str| {
        let mut raw = Raw::open(&server).await;
        raw.say(bytes).await;
        raw.0.shutdown().await.unwrap();
        assert_eq!(raw.until_ready().await, expect, "{bytes:?}");
    };
    check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "E(08P01)closed").await;
    check(&[0; 64], "E(08P01)closed").await;
    check(&[0xff; 64], "E(08P01)closed").await;
    check(b"\x16\x03\x01", "closed").await;
    check(&startup(131_072, b"user\0me\0"), "E(0A000)closed").await;
    check(&startup(196_608, b"user\0me"), "E(08P01)closed").await;
    check(&startup(196_608, b"database\0x\0"), "E(28000)closed").await;
    check(&startup(196_608, &[b'a'; 9_992]), "E(08P01)closed").await;
    check(b"\0\0\0\x08\x04\xd2\x16\x2e", "closed").await;
    check(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\0", "closed").await;
    assert_eq!(good.ask(&[query("numbers 1")]).await, "TD(0)C(SELECT 1)Z(I)");
}

#[tokio::test]
async fn encryption_is_declined_and_a_newer_minor_version_is_negotiated() {
    let server = Server::start(10).await;
    let mut raw = Raw::open(&server).await;
    for request in [80_877_104u32, 80_877_103] {
        raw.say(&[&[0, 0, 0, 8][..], &request.to_be_bytes()].concat()).await;
        assert_eq!(raw.0.read_u8().await.unwrap(), b'N');
    }
    raw.say(&startup(196_610, b"user\0me\0_pq_.magic\0on\0")).await;
    let greeting = raw.until_ready().await;
    assert!(greeting.starts_with("vR") && greeting.ends_with("KZ(I)"), "{greeting}");
}

#[tokio::test]
async fn broken_messages_end_the_connection_and_broken_bodies_only_the_statement() {
    let server = Server::start(10).await;
    let check = async |bytes: &[u8], expect: &str| {
        let mut raw = Raw::login(&server).await;
        raw.say(bytes).await;
        raw.0.shutdown().await.unwrap();
        assert_eq!(raw.until_ready().await, expect, "{bytes:?}");
    };
    check(b"Q\x7f\xff\xff\xff", "E(54000)closed").await;
    check(b"Q\0\0\0\0", "E(08P01)closed").await;
    check(b"\0\0\0\0\0", "E(08P01)closed").await;
    check(b"p\0\0\0\x05\0", "E(08P01)closed").await;
    check(&message(b'Q', b"no end"), "E(08P01)Z(I)").await;
    check(&message(b'Q', b"\xff\0"), "E(22021)Z(I)").await;
    check(&[message(b'B', b"\0\0\0\x01"), message(b'S', b"")].concat(), "E(08P01)Z(I)").await;
    check(&[message(b'P', b"\0\0\xff\xff"), message(b'S', b"")].concat(), "E(08P01)Z(I)").await;
    check(&message(b'F', b"\0\0\0\x01"), "E(0A000)Z(I)").await;
    check(&message(b'X', b""), "closed").await;
}

#[tokio::test]
async fn messages_may_come_byte_by_byte_or_all_at_once() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let sync = message(b'S', b"");
    let messages =
        [parse("s", "numbers 2"), bind("", "s"), message(b'D', b"P\0"), execute("", 0), sync]
            .concat();
    let expect = "12TD(0)D(1)C(SELECT 2)Z(I)";
    let close = [message(b'C', b"Ss\0"), message(b'S', b"")].concat();
    for byte in &messages {
        raw.say(&[*byte]).await;
        raw.0.flush().await.unwrap();
    }
    assert_eq!(raw.until_ready().await, expect);
    assert_eq!(raw.ask(std::slice::from_ref(&close)).await, "3Z(I)");
    raw.say(&[&messages[..], &close, &messages, &close, &query("numbers 1")].concat()).await;
    for expect in [expect, "3Z(I)", expect, "3Z(I)", "TD(0)C(SELECT 1)Z(I)"] {
        assert_eq!(raw.until_ready().await, expect);
    }
}

#[tokio::test]
async fn after_an_error_everything_up_to_sync_is_passed_over() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let sync = || message(b'S', b"");
    let check = async |raw: &mut Raw, messages: &[Vec<u8>], expect: &str| {
        assert_eq!(raw.ask(messages).await, expect, "{messages:?}");
    };
    let all = [parse("", "unparsable x"), bind("", ""), execute("", 0), query("numbers 1"), sync()];
    check(&mut raw, &all, "E(42601)Z(I)").await;
    check(&mut raw, &[bind("", "none"), sync()], "E(26000)Z(I)").await;
    check(&mut raw, &[execute("none", 0), sync()], "E(34000)Z(I)").await;
    check(&mut raw, &[message(b'D', b"Pnone\0"), sync()], "E(34000)Z(I)").await;
    check(&mut raw, &[message(b'D', b"Snone\0"), sync()], "E(26000)Z(I)").await;
    check(&mut raw, &[parse("a", "numbers 1"), parse("a", "numbers 1"), sync()], "1E(42P05)Z(I)")
        .await;
    check(&mut raw, &[bind("p", "a"), bind("p", "a"), sync()], "2E(42P03)Z(I)").await;
    check(&mut raw, &[parse("", "echo"), bind("", ""), sync()], "1E(08P01)Z(I)").await;
    check(&mut raw, &[parse("", ""), bind("", ""), execute("", 0), sync()], "12IZ(I)").await;
    check(
        &mut raw,
        &[parse("", "begin"), bind("", ""), execute("", 0), execute("", 0), sync()],
        "12C(BEGIN)E(55000)Z(E)",
    )
    .await;
    check(&mut raw, &[query("commit")], "C(COMMIT)Z(I)").await;
    let typed = message(b'P', b"\0echo\0\0\x01\xff\xff\xff\xff");
    check(&mut raw, &[typed, sync()], "E(42704)Z(I)").await;
    let bad_number = message(b'B', b"\0\0\0\0\0\x02\0\0\0\x01x\0\0\0\x01y\0\0");
    check(&mut raw, &[parse("", "echo"), bad_number, sync()], "1E(22P02)Z(I)").await;
    let bad_text = message(b'B', b"\0\0\0\0\0\x02\0\0\0\x011\0\0\0\x01\xff\0\0");
    check(&mut raw, &[parse("", "echo"), bad_text, sync()], "1E(22021)Z(I)").await;
}

#[tokio::test]
async fn a_session_holds_so_many_statements_and_no_more() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let many: Vec<_> =
        (0..limits::SESSION_OBJECTS).map(|n| parse(&format!("s{n}"), "numbers 1")).collect();
    let heard = raw.ask(&[many.concat(), message(b'S', b"")]).await;
    assert_eq!(heard, "1".repeat(limits::SESSION_OBJECTS) + "Z(I)");
    assert_eq!(raw.ask(&[parse("more", "numbers 1"), message(b'S', b"")]).await, "E(53400)Z(I)");
}

#[tokio::test]
async fn a_portal_is_suspended_resumed_and_gone_after_its_transaction() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let sync = || message(b'S', b"");
    assert_eq!(raw.ask(&[query("begin")]).await, "C(BEGIN)Z(T)");
    let heard = raw.ask(&[parse("", "numbers 5"), bind("p", ""), execute("p", 2), sync()]).await;
    assert_eq!(heard, "12D(0)D(1)sZ(T)");
    // In between the session may do other things.
    assert_eq!(raw.ask(&[query("numbers 1")]).await, "TD(0)C(SELECT 1)Z(T)");
    assert_eq!(raw.ask(&[execute("p", 3), sync()]).await, "D(2)D(3)D(4)sZ(T)");
    assert_eq!(
        raw.ask(&[execute("p", 3), execute("p", 0), sync()]).await,
        "C(SELECT 0)C(SELECT 0)Z(T)"
    );
    assert_eq!(raw.ask(&[query("commit")]).await, "C(COMMIT)Z(I)");
    assert_eq!(raw.ask(&[execute("p", 3), sync()]).await, "E(34000)Z(I)");
}

#[tokio::test]
async fn a_suspended_live_portal_is_ended_by_close_and_by_an_error() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let sync = || message(b'S', b"");
    raw.ask(&[query("begin")]).await;
    server.world.feed.send(8).unwrap();
    server.world.feed.send(9).unwrap();
    let heard = raw
        .ask(&[parse("", "live"), bind("p", ""), execute("p", 1), execute("p", 1), sync()])
        .await;
    assert_eq!(heard, "12D(8)sD(9)sZ(T)");
    server.world.until_running(1).await;
    assert_eq!(raw.ask(&[message(b'C', b"Pp\0"), sync()]).await, "3Z(T)");
    server.world.until_running(0).await;
}

#[tokio::test]
async fn a_client_that_vanishes_frees_what_it_ran() {
    let server = Server::start(10).await;
    for sql in ["hang", "idle", "busy", "live"] {
        let mut raw = Raw::login(&server).await;
        raw.say(&query(sql)).await;
        server.world.until_running(1).await;
        drop(raw);
        server.world.until_running(0).await;
    }
    // Also when more is waiting than is read ahead.
    let mut raw = Raw::login(&server).await;
    raw.say(&query("hang")).await;
    server.world.until_running(1).await;
    let pipelined =
        query("numbers 1").repeat(2 * limits::READ_AHEAD_BYTES / query("numbers 1").len());
    raw.say(&pipelined).await;
    drop(raw);
    server.world.until_running(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_query_back_and_can_be_cancelled() {
    let server = Server::start(10).await;
    let mut raw = Raw::open(&server).await;
    raw.say(&startup(196_608, b"user\0me\0")).await;
    let mut greeting = BytesMut::new();
    let key = loop {
        raw.0.read_buf(&mut greeting).await.unwrap();
        // BackendKeyData and ReadyForQuery are the last 13 and 6 bytes.
        if greeting.ends_with(b"Z\0\0\0\x05I") {
            break greeting[greeting.len() - 14..greeting.len() - 6].to_vec();
        }
    };
    raw.say(&query("busy")).await;
    server.world.until_running(1).await;
    let mut other = Raw::open(&server).await;
    other.say(&[&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &key].concat()).await;
    assert_eq!(other.until_ready().await, "closed");
    server.world.until_running(0).await;
    let mut last = String::new();
    while let Some(message) = raw.hear().await.filter(|message| !message.starts_with('Z')) {
        last = message;
    }
    assert_eq!(last, "E(57014)");
}

#[tokio::test]
async fn copy_data_after_a_failed_copy_is_swallowed() {
    let server = Server::start(10).await;
    let mut raw = Raw::login(&server).await;
    let data = |text: &str| message(b'd', text.as_bytes());
    let done = || message(b'c', b"");
    let heard = raw
        .ask(&[query("copy_in"), data("1\n"), message(b'H', b""), message(b'S', b""), done()])
        .await;
    assert_eq!(heard, "GC(COPY 1)Z(I)");
    let heard = raw.ask(&[query("copy_in"), data("bad"), data("2\n"), done()]).await;
    assert_eq!(heard, "GE(22P04)Z(I)");
    assert_eq!(raw.ask(&[query("copy_in"), message(b'f', b"no more\0")]).await, "GE(57014)Z(I)");
    assert_eq!(raw.ask(&[query("copy_in"), parse("", "numbers 1")]).await, "GE(08P01)Z(I)");
    assert_eq!(raw.ask(&[query("numbers 0")]).await, "TC(SELECT 0)Z(I)");
}

#[tokio::test]
async fn a_transaction_left_idle_and_a_shutdown_are_told_to_a_client_that_waits() {
    let server = Server::start(10).await;
    let mut forgetful = Raw::login(&server).await;
    assert_eq!(forgetful.ask(&[query("timeout 50"), query("begin")]).await, "C(SET)Z(I)");
    assert_eq!(forgetful.until_ready().await, "C(BEGIN)Z(T)");
    assert_eq!(forgetful.until_ready().await, "E(25P03)closed");
    let mut idle = Raw::login(&server).await;
    let mut suspended = Raw::login(&server).await;
    suspended.ask(&[query("begin")]).await;
    server.world.feed.send(8).unwrap();
    let heard = suspended
        .ask(&[parse("", "live"), bind("p", ""), execute("p", 1), message(b'S', b"")])
        .await;
    assert_eq!(heard, "12D(8)sZ(T)");
    server.stop.send(true).unwrap();
    assert_eq!(idle.until_ready().await, "E(57P01)closed");
    assert_eq!(suspended.until_ready().await, "E(57P01)closed");
    server.world.until_running(0).await;
    drop((forgetful, idle, suspended));
    timeout(Duration::from_secs(20), server.ended).await.unwrap().unwrap().unwrap();
}
