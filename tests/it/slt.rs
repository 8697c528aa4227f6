//! Runs the sqllogictest files of `tests/slt`, through the wire, each on a server of its own.
//!
//! A file is a page of SQL with the answers beside it. Two things go beyond the usual format: `COPY
//! … FROM STDIN;` takes its data from the lines that follow in the same record, and `COPY … TO
//! STDOUT` and a bare SUBSCRIBE answer with a row a line. `SLT=name cargo test slt` runs only the
//! files whose path contains that name.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::{self, Server};

#[tokio::test(flavor = "multi_thread")]
async fn every_sql_page_answers_as_it_says() {
    let mut files = Vec::new();
    find(&server::repository().join("tests/slt"), &mut files);
    if let Ok(wanted) = std::env::var("SLT") {
        files.retain(|file| file.to_string_lossy().contains(&wanted));
    }
    assert!(!files.is_empty(), "there are no pages to run");
    let mut failures = Vec::new();
    for file in files {
        if let Err(error) = run(&file).await {
            failures.push(format!("{}\n{error}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{} page(s) failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_sql_page_answers_the_same_in_process_under_a_simulated_clock() {
    let pages = server::repository().join("tests/slt");
    let dir = server::directory();
    let said = server::tidemill(dir.path(), &["test", &pages.to_string_lossy()]).ok();
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 20, "{said}");
}

#[test]
fn every_sql_page_can_be_read() {
    let mut files = Vec::new();
    find(&server::repository().join("tests/slt"), &mut files);
    for file in files {
        let records = sqllogictest::parse_file::<DefaultColumnType>(&file);
        let records = records.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(records.len() > 10, "{} holds next to nothing", file.display());
    }
}

async fn run(file: &Path) -> Result<(), String> {
    let server = Server::ephemeral();
    let server = std::sync::Arc::new(server);
    let mut runner = Runner::new(|| {
        let server = std::sync::Arc::clone(&server);
        async move { Ok(Connection(server.connect().await, server)) }
    });
    let result = runner.run_file_async(file).await;
    runner.shutdown_async().await;
    if !server.is_running() {
        return Err(format!("the server is gone:\n{}", server.output()));
    }
    result.map_err(|error| error.to_string())
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => find(&path, files),
            false if path.extension().is_some_and(|e| e == "slt") => files.push(path),
            false => {}
        }
    }
}

struct Connection(Client, std::sync::Arc<Server>);

/// The server's error with its SQLSTATE and hint in the text, so that a page can check both.
#[derive(Debug)]
struct Failure {
    text: String,
    state: Option<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure { text: server::describe(&error), state: error.code().map(|c| c.code().to_owned()) }
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let work = async {
            match copy_direction(sql) {
                Some(Copy::In) => self.copy_in(sql).await,
                Some(Copy::Out) => self.copy_out(sql).await,
                None => self.simple(sql).await,
            }
        };
        let timeout = Failure { text: format!("no answer in {:?}", server::PATIENCE), state: None };
        tokio::time::timeout(server::PATIENCE, work).await.unwrap_or(Err(timeout))
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "tidemill"
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.state.clone()
    }
}

enum Copy {
    In,
    Out,
}

fn copy_direction(sql: &str) -> Option<Copy> {
    let first = sql.lines().next().unwrap_or_default().to_ascii_uppercase();
    match first.trim_start().starts_with("COPY") {
        true if sql.to_ascii_uppercase().contains("FROM STDIN") => Some(Copy::In),
        true => Some(Copy::Out),
        false => None,
    }
}

impl Connection {
    async fn simple(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let mut columns = None;
        let (mut rows, mut done) = (Vec::new(), 0);
        for message in self.0.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(found) => columns = Some(found.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|i| cell(row.get(i))).collect());
                }
                SimpleQueryMessage::CommandComplete(count) => done = count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(n) => DBOutput::Rows { types: vec![DefaultColumnType::Any; n], rows },
            None => DBOutput::StatementComplete(done),
        })
    }

    /// The statement ends with the first line that ends in a semicolon; the rest is the data.
    async fn copy_in(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let (statement, data) = sql.split_once(";\n").unwrap_or((sql.trim_end_matches(';'), ""));
        // After a refused COPY tokio-postgres has sent one Sync more than it waits for, so each
        // COPY has its own connection.
        let client = self.1.connect().await;
        let sink = client.copy_in::<_, Bytes>(statement).await?;
        let mut sink = std::pin::pin!(sink);
        if !data.is_empty() {
            sink.send(Bytes::from(format!("{}\n", data.replace("<tab>", "\t")))).await?;
        }
        Ok(DBOutput::StatementComplete(sink.finish().await?))
    }

    async fn copy_out(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let stream = self.0.copy_out(sql.trim_end().trim_end_matches(';')).await?;
        let mut text = Vec::new();
        let mut stream = std::pin::pin!(stream);
        while let Some(bytes) = stream.try_next().await? {
            text.extend_from_slice(&bytes);
        }
        let text = String::from_utf8_lossy(&text);
        let rows = text.lines().map(|line| vec![line.replace('\t', "<tab>")]).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows })
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}
