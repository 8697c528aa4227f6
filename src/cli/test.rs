//! `tidemill test`: SQL pages with the answers beside them, run in process under a simulated clock.
//!
//! A page is a sqllogictest file and has an engine of its own, in memory. Two things go beyond the
//! usual format: `COPY … FROM STDIN;` takes its data from the lines that follow in the same record,
//! and `COPY … TO STDOUT` and a bare SUBSCRIBE answer with a row a line; a tab in either is written
//! `<tab>`. Pages that are run here have the label `simulated`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clap::Args;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};

use super::serve;
use crate::clock::{Clock, SimulatedClock};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::server::{Answer, Caller, Failure, Simulated};
use crate::store::MemoryStore;

/// The flags of `test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// sqllogictest files, or directories that are searched for *.slt.
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
}

/// Where the clock of a page begins: 2024-01-01 UTC.
const BEGINNING_MS: i64 = 1_704_067_200_000;

/// Runs the pages, all of them, and says of each how it went.
pub(super) fn test(args: &TestArgs) -> Result<(), Failure> {
    let mut pages = Vec::new();
    for path in &args.paths {
        find(path, &mut pages)
            .map_err(|error| Failure::whole(path.display().to_string(), error))?;
    }
    if pages.is_empty() {
        return Err(Error::new(
            SqlState::BadArgument,
            "there are no *.slt files in these directories",
        )
        .into());
    }
    let files = serve::files_root(None)?;
    // Plans are trees: the thread needs the stack that planning needs.
    let thread = std::thread::Builder::new().stack_size(limits::PLANNING_STACK_BYTES);
    let (count, running) =
        (pages.len(), thread.spawn(move || run_all(&pages, &files)).map_err(Error::from)?);
    match running.join() {
        Ok(0) => Ok(()),
        Ok(failed) => {
            Err(Error::new(SqlState::Internal, format!("{failed} of {count} files failed")).into())
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A file as it is; of a directory what is below it, in order of the names.
fn find(path: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        pages.push(path.to_owned());
        return Ok(());
    }
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.retain(|path| {
        path.is_dir() || path.extension().is_some_and(|extension| extension == "slt")
    });
    paths.iter().try_for_each(|path| find(path, pages))
}

/// How many pages failed.
fn run_all(pages: &[PathBuf], files: &Path) -> usize {
    let mut failed = 0;
    for page in pages {
        let name = page.display();
        match run(page, files) {
            Ok(records) => println!("ok      {name} ({records} records)"),
            Err(why) => {
                failed += 1;
                println!("FAILED  {name}\n{why}\n");
            }
        }
    }
    failed
}

fn run(page: &Path, files: &Path) -> Result<usize, String> {
    let records = sqllogictest::parse_file(page).map_err(|error| error.to_string())?;
    let clock = SimulatedClock::new(BEGINNING_MS);
    let runtime = clock.runtime().map_err(|error| error.to_string())?;
    runtime.block_on(run_records(records, &clock, files))
}

async fn run_records(
    records: Vec<Record<DefaultColumnType>>,
    clock: &SimulatedClock,
    files: &Path,
) -> Result<usize, String> {
    let store = Arc::new(MemoryStore::new());
    let opened = Simulated::open(clock, store, files.to_owned(), limits::FOLD_BYTES).await;
    let simulated = &opened.map_err(|error| error.to_string())?;
    let mut runner = Runner::new(|| async { Ok(PageSession(simulated.client().await?)) });
    runner.add_label("simulated");
    let mut done = 0;
    for record in records {
        match record {
            Record::Halt { .. } => break,
            Record::Sleep { duration, .. } => clock.sleep(duration).await,
            record => {
                let is_asked = matches!(record, Record::Statement { .. } | Record::Query { .. });
                runner.run_async(record).await.map_err(|error| error.display(false).to_string())?;
                done += usize::from(is_asked);
            }
        }
    }
    Ok(done)
}

struct PageSession(Caller);

/// An error with its SQLSTATE and hint in the text, so that a page can check all three.
#[derive(Debug)]
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal(error)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = &self.0;
        write!(f, "[{}] {}", error.state().code(), error.message())?;
        if let Some(detail) = error.detail_text() {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = error.hint_text() {
            write!(f, " HINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

#[async_trait]
impl AsyncDB for PageSession {
    type Error = Refusal;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refusal> {
        let is_copy =
            sql.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"));
        let answer = if is_copy && sql.to_ascii_uppercase().contains("FROM STDIN") {
            // The statement ends with the first line that ends in a semicolon; the rest is the
            // data.
            let (statement, data) =
                sql.split_once(";\n").unwrap_or((sql.trim_end_matches(';'), ""));
            let end = if data.is_empty() { "" } else { "\n" };
            self.0
                .copy_in(statement, Bytes::from(format!("{}{end}", data.replace("<tab>", "\t"))))
                .await?
        } else {
            self.0.ask(sql).await?
        };
        Ok(match answer {
            Answer::Done(tag) => {
                let count = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
                DBOutput::StatementComplete(count.unwrap_or(0))
            }
            Answer::Rows { columns, rows } => {
                let rows =
                    rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
                DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows }
            }
            Answer::Copied(lines) => {
                let rows =
                    lines.into_iter().map(|line| vec![line.replace('\t', "<tab>")]).collect();
                DBOutput::Rows { types: vec![DefaultColumnType::Text], rows }
            }
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "tidemill"
    }

    /// Sleeping is done by the page's clock, not here.
    async fn sleep(_: Duration) {}

    fn error_sql_state(error: &Refusal) -> Option<String> {
        Some(error.0.state().code().to_owned())
    }
}

fn cell(value: Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text,
    }
}
