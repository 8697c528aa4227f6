//! The main test of the engine: live answer, view and snapshot each equal an independent answer.
//!
//! A case is a query shape over a generated stream: rows out of order, with NULLs, text keys and
//! times before 1970, split at random into writes. The engine answers three ways: a materialized
//! view (EMIT CHANGES and EMIT ON WINDOW CLOSE), a continuous SELECT read by a cursor, and a
//! snapshot. The expected answer is computed here, without any of the engine's code: `rows` assigns
//! windows and decides lateness in plain Rust, `batch` lets DataFusion run the same question over
//! those rows as one finite table.
//!
//! A failing case prints its seed and the statements that led to it; `TIDEMILL_ORACLE_SEED=n` runs
//! that case alone, and `TIDEMILL_ORACLE_CASES=n` changes how many there are.

pub mod batch;
pub mod case;
pub mod rows;
mod shapes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::server::{self, Server};
use batch::Batch;
use case::{Case, Write};
use rows::History;
use shapes::Kind;

const CASES: u64 = 300;

/// As many as the machine of the tests has cores.
const WORKERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn live_answer_view_and_snapshot_equal_an_independent_answer() {
    let number =
        |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let only = number("TIDEMILL_ORACLE_SEED");
    let end =
        only.map_or_else(|| number("TIDEMILL_ORACLE_CASES").unwrap_or(CASES), |seed| seed + 1);
    let next = Arc::new(AtomicU64::new(only.unwrap_or(0)));
    let server = Arc::new(Server::ephemeral());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (server, next) = (Arc::clone(&server), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            let (writer, reader) = (server.connect().await, server.connect().await);
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                Trial::new(&writer, &reader, seed).run().await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap_or_else(|failure| panic!("{failure}\n{}", server.output()));
    }
}

#[test]
fn there_are_enough_shapes_and_the_cases_use_them_all() {
    let used: std::collections::BTreeSet<&str> =
        (0..CASES).map(|seed| Case::generate(seed).shape.name).collect();
    assert!(shapes::SHAPES.len() >= 40, "{} shapes", shapes::SHAPES.len());
    assert_eq!(used.len(), shapes::SHAPES.len(), "each shape has a name of its own and occurs");
}

#[tokio::test]
async fn the_independent_answer_exists_for_every_shape_and_is_seldom_empty() {
    let (mut empty, mut late) = (0, 0);
    for seed in 0..shapes::SHAPES.len() as u64 {
        let case = Case::generate(seed);
        let mut history = History::new(case.window, case.delay, case.lateness);
        case.writes.iter().for_each(|write| history.apply(write));
        let all =
            Batch::new(&case, &history, rows::Keep::All).await.answer(case.oracle_sql()).await;
        let on_time =
            Batch::new(&case, &history, rows::Keep::OnTime).await.answer(case.oracle_sql()).await;
        empty += usize::from(all.is_empty());
        late += usize::from(all != on_time);
    }
    assert!(empty < 12, "{empty} cases show nothing");
    assert!(late > 10, "in {late} cases only does lateness change the answer");
}

/// One case on its way through the engine.
struct Trial<'a> {
    writer: &'a Client,
    reader: &'a Client,
    case: Case,
    /// What has been sent, to be printed when it fails.
    script: Vec<String>,
}

impl<'a> Trial<'a> {
    fn new(writer: &'a Client, reader: &'a Client, seed: u64) -> Self {
        Trial { writer, reader, case: Case::generate(seed), script: Vec::new() }
    }

    async fn run(mut self) {
        self.define().await;
        let live_from_the_start = self.case.live_first && self.live_query().is_some();
        if live_from_the_start {
            self.open_cursor().await;
        }
        let mut history = History::new(self.case.window, self.case.delay, self.case.lateness);
        let half = self.case.writes.len() / 2;
        for i in 0..self.case.writes.len() {
            self.write(i).await;
            history.apply(&self.case.writes[i]);
            if i == half {
                self.check_midway(&history).await;
            }
        }
        let infinity = format!("SELECT advance_watermark('{}', 'infinity')", self.case.stream());
        self.send(&infinity).await;
        history.apply(&Write::Advance(i64::MAX));
        self.check_end(&history, live_from_the_start).await;
        self.clean_up().await;
    }

    async fn define(&mut self) {
        for statement in self.case.tables() {
            self.send(&statement).await;
        }
        let (with, query) = (self.case.with_options(), self.case.engine_sql());
        self.send(&format!(
            "CREATE MATERIALIZED VIEW {}{with} AS {query} EMIT CHANGES",
            self.case.view()
        ))
        .await;
        if self.has_final_view() {
            let view = self.case.final_view();
            self.send(&format!(
                "CREATE MATERIALIZED VIEW {view}{with} AS {query} EMIT ON WINDOW CLOSE"
            ))
            .await;
        }
    }

    /// A running aggregate has no window that could close.
    fn has_final_view(&self) -> bool {
        match self.case.shape.kind {
            Kind::Windowed | Kind::Stateless | Kind::Bounded => true,
            Kind::Running => false,
        }
    }

    async fn check_midway(&mut self, history: &History) {
        let batch = Batch::new(&self.case, history, rows::Keep::OnTime).await;
        let expected = batch.answer(self.case.oracle_sql()).await;
        self.compare("the view with EMIT CHANGES, midway", &self.case.view(), &expected).await;
        if matches!(self.case.shape.kind, Kind::Windowed) {
            let batch = Batch::new(&self.case, history, rows::Keep::Closed).await;
            let expected = batch.answer(self.case.oracle_sql()).await;
            let name = self.case.final_view();
            self.compare("the view with EMIT ON WINDOW CLOSE, midway", &name, &expected).await;
        }
    }

    async fn check_end(&mut self, history: &History, cursor_is_open: bool) {
        let on_time = Batch::new(&self.case, history, rows::Keep::OnTime).await;
        let expected = on_time.answer(self.case.oracle_sql()).await;
        self.compare("the view with EMIT CHANGES", &self.case.view(), &expected).await;
        if self.has_final_view() {
            self.compare("the view with EMIT ON WINDOW CLOSE", &self.case.final_view(), &expected)
                .await;
        }
        if self.live_query().is_some() {
            if !cursor_is_open {
                self.open_cursor().await;
            }
            self.check_live(&expected).await;
        }
        let all = Batch::new(&self.case, history, rows::Keep::All).await;
        let expected = all.answer(self.case.oracle_sql()).await;
        let query = self.case.engine_sql();
        self.compare("the snapshot", &format!("({query}) AS q"), &expected).await;
    }

    async fn compare(&self, what: &str, relation: &str, expected: &[String]) {
        let sql = format!("SELECT * FROM {relation}");
        let rows = server::rows(self.writer, &sql).await;
        let rows = rows.unwrap_or_else(|error| {
            self.fail(what, &format!("{}: {sql}", server::describe(&error)))
        });
        self.expect_same(what, rows, expected);
    }

    fn expect_same(&self, what: &str, found: Vec<Vec<Option<String>>>, expected: &[String]) {
        let mut found: Vec<String> = found.into_iter().map(batch::line).collect();
        found.sort();
        if found != expected {
            let missing = difference(expected, &found);
            let surplus = difference(&found, expected);
            self.fail(
                what,
                &format!(
                    "missing:\n  {}\nnot expected:\n  {}",
                    missing.join("\n  "),
                    surplus.join("\n  ")
                ),
            );
        }
    }

    fn fail(&self, what: &str, why: &str) -> ! {
        let case = &self.case;
        panic!(
            "seed {} ({}): {what}\n{why}\n--- after\n{};",
            case.seed,
            case.shape.name,
            self.script.join(";\n")
        );
    }

    /// The continuous query whose whole output is known: windows once each, or rows as they arrive.
    fn live_query(&self) -> Option<String> {
        self.has_final_view().then(|| format!("{} EMIT ON WINDOW CLOSE", self.case.engine_sql()))
    }

    async fn open_cursor(&mut self) {
        let query = self.live_query().expect("asked before");
        let lateness = format!("SET allowed_lateness = '{} s'", self.case.lateness / 1_000_000);
        for sql in [&lateness, "BEGIN", &format!("DECLARE live CURSOR FOR {query}")] {
            self.script.push(format!("/* reader */ {sql}"));
            if let Err(error) = self.reader.batch_execute(sql).await {
                self.fail("the continuous SELECT", &server::describe(&error));
            }
        }
    }

    /// Reads as many rows as are expected, and then looks whether there are more.
    async fn check_live(&mut self, expected: &[String]) {
        let mut found = Vec::new();
        let begun = Instant::now();
        while found.len() < expected.len() && begun.elapsed() < Duration::from_secs(15) {
            let wanted = expected.len() - found.len();
            found.extend(
                self.fetch(&format!("FETCH {wanted} FROM live WITH (timeout = '5 s')")).await,
            );
        }
        found.extend(self.fetch("FETCH 1 FROM live WITH (timeout = '30 ms')").await);
        self.check_window_order(&found);
        self.expect_same("the continuous SELECT", found, expected);
        for sql in ["CLOSE live", "COMMIT", "RESET allowed_lateness"] {
            if let Err(error) = self.reader.batch_execute(sql).await {
                self.fail("the continuous SELECT", &format!("{}: {sql}", server::describe(&error)));
            }
        }
    }

    async fn fetch(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let rows = server::rows(self.reader, sql).await;
        rows.unwrap_or_else(|error| {
            self.fail("the continuous SELECT", &format!("{}: {sql}", server::describe(&error)))
        })
    }

    /// Windows come in order of their end. Only where the shape says in which column that is.
    fn check_window_order(&self, found: &[Vec<Option<String>>]) {
        let Some(column) = self.case.shape.window_end_column() else { return };
        let ends: Vec<&Option<String>> = found.iter().map(|row| &row[column]).collect();
        if !ends.is_sorted_by_key(|end| end.as_deref().map(rows::parse_time)) {
            self.fail("the continuous SELECT", &format!("windows out of order: {ends:?}"));
        }
    }

    async fn write(&mut self, i: usize) {
        let stream = self.case.stream();
        match self.case.writes[i].clone() {
            Write::Statements(statements) => {
                let several = statements.len() > 1;
                if several {
                    self.send("BEGIN").await;
                }
                for rows in &statements {
                    self.send(&self.case.insert(rows)).await;
                }
                if several {
                    self.send("COMMIT").await;
                }
            }
            Write::Copy(rows) => self.copy(&stream, &rows).await,
            Write::Advance(to) => {
                let sql =
                    format!("SELECT advance_watermark('{stream}', TIMESTAMP '{}')", rows::time(to));
                self.send(&sql).await;
            }
        }
    }

    async fn copy(&mut self, stream: &str, rows: &[rows::Row]) {
        use futures::SinkExt;
        let sql = format!("COPY {stream} FROM STDIN");
        let data: String = rows.iter().map(rows::Row::copy_line).collect();
        self.script.push(format!("{sql};\n{data}\\."));
        let work = async {
            let sink = self.writer.copy_in::<_, bytes::Bytes>(&sql).await?;
            let mut sink = std::pin::pin!(sink);
            sink.send(bytes::Bytes::from(data)).await?;
            sink.finish().await
        };
        match work.await {
            Ok(count) if count == rows.len() as u64 => {}
            Ok(count) => {
                self.fail("COPY", &format!("{count} rows were copied instead of {}", rows.len()))
            }
            Err(error) => self.fail("COPY", &server::describe(&error)),
        }
    }

    async fn send(&mut self, sql: &str) {
        self.script.push(sql.to_owned());
        match tokio::time::timeout(server::PATIENCE, self.writer.batch_execute(sql)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail("a statement failed", &server::describe(&error)),
            Err(_) => self.fail("a statement did not end", sql),
        }
    }

    async fn clean_up(&mut self) {
        let (stream, dim) = (self.case.stream(), self.case.dim());
        self.send(&format!("DROP STREAM {stream} CASCADE")).await;
        self.send(&format!("DROP TABLE {dim} CASCADE")).await;
    }
}

/// The lines of `a` that are not in `b`, each as often as it is missing. Both are sorted.
pub fn difference(a: &[String], b: &[String]) -> Vec<String> {
    let mut rest = b.to_vec();
    a.iter()
        .filter(|line| match rest.iter().position(|other| other == *line) {
            Some(i) => {
                rest.remove(i);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}
