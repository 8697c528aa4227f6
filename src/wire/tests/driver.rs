//! With tokio-postgres, as an application would.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage as Simple};

use super::*;

async fn connect(server: &Server) -> Client {
    let config = format!("host=127.0.0.1 port={} user=me dbname=any", server.port);
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("none", SqlState::code)
}

#[tokio::test]
async fn simple_queries_give_rows_tags_and_errors() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    let got = client.simple_query("numbers 4; begin; commit; numbers 0").await.unwrap();
    let mut seen = Vec::new();
    for message in &got {
        match message {
            Simple::Row(row) => seen.push(row.get(0).unwrap().to_owned()),
            Simple::CommandComplete(count) => seen.push(format!("done {count}")),
            _ => {}
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "done 4", "done 0", "done 0", "done 0"]);
    let log = std::mem::take(&mut *server.world.log.lock());
    assert_eq!(log, ["implicit", "numbers 4", "begin", "commit", "numbers 0", "sync"]);

    let error = client.simple_query("numbers 1; wrong; numbers 2").await.unwrap_err();
    assert_eq!(code(&error), "42601");
    let log = std::mem::take(&mut *server.world.log.lock());
    assert_eq!(log, ["implicit", "numbers 1", "wrong", "failed 42601", "sync"]);
    // The driver shows an EmptyQueryResponse as a completion of nothing.
    assert!(matches!(client.simple_query(" ; ").await.unwrap()[..], [Simple::CommandComplete(0)]));
}

#[tokio::test]
async fn parameters_go_in_and_values_come_out_in_binary_and_text() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    let row = client.query_one("echo", &[&42i64, &"größe"]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>("t")), (42, "größe"));
    let row = client.query_one("echo", &[&None::<i64>, &None::<&str>]).await.unwrap();
    assert_eq!((row.get::<_, Option<i64>>(0), row.get::<_, Option<&str>>(1)), (None, None));
    let error = client.query("unparsable x", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        (error.code().code(), error.message(), error.hint()),
        ("42601", "no: x", Some("Say yes."))
    );
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(3)));
    let rows: Vec<_> =
        client.query_raw("numbers 1000", &[] as &[i64]).await.unwrap().try_collect().await.unwrap();
    assert_eq!((rows.len(), rows[999].get::<_, i64>(0)), (1000, 999));
}

#[tokio::test]
async fn copy_goes_in_and_out_and_can_fail_on_either_side() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    let sink = client.copy_in::<_, Bytes>("copy_in").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from("1\to")).await.unwrap();
    sink.send(Bytes::from("ne\n2\ttwo\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    assert_eq!(
        server.world.log.lock().iter().filter(|line| *line == "copied 1\tone\n2\ttwo\n").count(),
        1
    );

    let sink = client.copy_in::<_, Bytes>("copy_in").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from("bad")).await.unwrap();
    assert_eq!(code(&sink.finish().await.unwrap_err()), "22P04");

    {
        let given_up = client.copy_in::<_, Bytes>("copy_in").await.unwrap();
        futures::pin_mut!(given_up);
        given_up.send(Bytes::from("3\tx\n")).await.unwrap();
    }
    let out: Vec<Bytes> = client.copy_out("copy_out").await.unwrap().try_collect().await.unwrap();
    assert_eq!(out.concat(), b"1\tone\n2\ttwo\n");
    assert!(server.world.log.lock().contains(&"failed 57014".to_owned()));
}

#[tokio::test]
async fn rows_of_an_endless_query_come_before_it_ends_and_a_cancel_ends_it() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    let rows = client.query_raw("live", &[] as &[i64]).await.unwrap();
    futures::pin_mut!(rows);
    for number in [3, 1, 4] {
        server.world.feed.send(number).unwrap();
        let row = timeout(Duration::from_secs(20), rows.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(row.get::<_, i64>(0), number);
    }
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(code(&rows.next().await.unwrap().unwrap_err()), "57014");
    server.world.until_running(0).await;
    assert_eq!(client.query("numbers 2", &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_cancel_reaches_planning_idling_and_busy_statements_and_no_idle_session() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    for sql in ["hang", "idle", "busy"] {
        client.cancel_token().cancel_query(NoTls).await.unwrap();
        client.simple_query("numbers 1").await.unwrap();
        let asked = client.simple_query(sql);
        let cancel = async {
            server.world.until_running(1).await;
            client.cancel_token().cancel_query(NoTls).await.unwrap();
        };
        let (answer, ()) =
            timeout(Duration::from_secs(20), futures::future::join(asked, cancel)).await.unwrap();
        assert_eq!(code(&answer.unwrap_err()), "57014", "{sql}");
        server.world.until_running(0).await;
    }
}

#[tokio::test]
async fn a_statement_over_its_time_is_ended_wherever_it_waits() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    client.simple_query("timeout 50").await.unwrap();
    for sql in ["hang", "idle", "busy"] {
        let error = client.simple_query(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        let expect = ("57014", "canceling statement due to statement timeout");
        assert_eq!((error.code().code(), error.message()), expect, "{sql}");
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_statement_only() {
    let server = Server::start(10).await;
    let client = connect(&server).await;
    assert_eq!(code(&client.simple_query("panic").await.unwrap_err()), "XX000");
    assert_eq!(code(&client.query("panic", &[]).await.unwrap_err()), "XX000");
    assert_eq!(code(&client.simple_query("panic_rows").await.unwrap_err()), "XX000");
    assert_eq!(code(&client.simple_query("bad_rows").await.unwrap_err()), "22012");
    assert_eq!(client.query("numbers 7", &[]).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_client_too_many_and_a_client_unknown_are_told_why() {
    let server = Server::start(1).await;
    let refused = |user: &str| format!("host=127.0.0.1 port={} user={user}", server.port);
    let error = tokio_postgres::connect(&refused("nobody"), NoTls).await.err().unwrap();
    assert_eq!(code(&error), "28000");
    let mut first = Some(connect(&server).await);
    let error = tokio_postgres::connect(&refused("me"), NoTls).await.err().unwrap();
    assert_eq!(code(&error), "53300");
    first.as_ref().unwrap().simple_query("numbers 1").await.unwrap();
    drop(first.take());
    while tokio_postgres::connect(&refused("me"), NoTls).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn notices_and_settings_come_with_their_statement() {
    let server = Server::start(10).await;
    let config = format!("host=127.0.0.1 port={} user=me options='-c zone=UTC'", server.port);
    let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    assert_eq!(connection.parameter("server_encoding"), Some("UTF8"));
    let (said, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notice(notice) = message {
                said.send((notice.severity().to_owned(), notice.message().to_owned())).unwrap();
            }
        }
    });
    client.simple_query("notice late rows are dropped").await.unwrap();
    let expect = ("NOTICE".to_owned(), "late rows are dropped".to_owned());
    assert_eq!(heard.recv().await, Some(expect));
    let rows = client.query("setting zone", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(1), "UTC");
}

#[tokio::test]
async fn a_shutdown_tells_idle_and_running_sessions() {
    let server = Server::start(10).await;
    let (idle, running) = (connect(&server).await, connect(&server).await);
    let asked = running.simple_query("hang");
    let stop = async {
        server.world.until_running(1).await;
        server.stop.send(true).unwrap();
    };
    let (answer, ()) = futures::future::join(asked, stop).await;
    assert_eq!(code(&answer.unwrap_err()), "57P01");
    timeout(Duration::from_secs(20), server.ended).await.unwrap().unwrap().unwrap();
    assert!(idle.simple_query("numbers 1").await.is_err());
}
