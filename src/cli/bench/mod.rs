//! `tidemill bench`: how fast continuous queries are, and how fast DataFusion answers the same
//! question as one batch.
//!
//! Each measurement runs in a process of its own, this program again, so that CPU seconds and
//! memory are its own.
//!
//! | file | idea |
//! |---|---|
//! | [`queries`] | the SQL, continuous and batch |
//! | [`input`] | generated events in memory, or a file |
//! | [`stage`] | the relations that the queries name |
//! | [`stream`], [`batch`] | the two ways to answer |
//! | [`measured`] | what a measurement hands over |
//! | [`usage`] | CPU seconds and memory of this process |
//! | [`report`] | a table, or JSON lines |

mod batch;
mod input;
mod measured;
mod queries;
mod report;
mod stage;
mod stream;
mod usage;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;

use self::measured::{Measured, text};
use self::report::{Report, Row};
use super::value;
use crate::error::{Error, Result, SqlState};
use crate::limits;

/// The flags of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Queries of sql/nexmark: q0 q1 q2 q3 q4 q5 q7 q8 q9 q13 q18 q19 q20 qk qhop upd wc, or qhopN for N windows a row
    /// [default: all but qhopN].
    #[arg(value_name = "QUERY")]
    queries: Vec<String>,
    /// How many rows of its streams each query reads; they are generated into memory first, and that
    /// is not counted.
    #[arg(long, value_name = "N", env = "TIDEMILL_EVENTS", default_value = "1000000", value_parser = value::count)]
    events: usize,
    /// How many threads; a continuous query runs on one so far.
    #[arg(long, value_name = "N", env = "TIDEMILL_THREADS", default_value = "1", value_parser = value::count)]
    threads: usize,
    /// How the figures are printed.
    #[arg(long, env = "TIDEMILL_FORMAT", default_value = "table")]
    format: ReportFormat,
    /// Also run the same question as one DataFusion batch over the same rows.
    #[arg(long, env = "TIDEMILL_COMPARE", value_name = "WITH")]
    compare: Option<Compare>,
    /// Read the bids from a .csv, .json (lines) or .parquet file instead; decoding it is counted.
    #[arg(long, value_name = "FILE", env = "TIDEMILL_INPUT")]
    input: Option<PathBuf>,
    /// How much memory a query may use.
    #[arg(long, value_name = "SIZE", env = "TIDEMILL_MEMORY_LIMIT", default_value = "4GiB", value_parser = value::bytes)]
    memory_limit: usize,
    /// What this process is to measure; the others are started by the one without it.
    #[arg(long, hide = true)]
    part: Option<Measurement>,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people.
    Table,
    /// An object a line for each query.
    Json,
}

/// What Tidemill is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compare {
    /// DataFusion's batch execution.
    Batch,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// The continuous query.
    Stream,
    /// The batch.
    Batch,
}

/// Measures what the flags say.
pub(super) fn bench(args: &BenchArgs) -> Result<()> {
    let names = if args.queries.is_empty() { queries::names() } else { args.queries.clone() };
    let chosen = names.iter().map(|name| queries::find(name)).collect::<Result<Vec<_>>>()?;
    if args.threads > 1 {
        return Err(Error::unsupported(format!(
            "bench --threads {} is not supported yet (0A000): a continuous query runs on one thread",
            args.threads
        ))
        .hint("Leave --threads away; --compare batch then uses one thread as well."));
    }
    if let Some(path) = &args.input {
        input::file_format(path)?;
    }
    match (args.part, chosen.as_slice()) {
        (Some(part), [query]) => part_of(args, part, query.clone()),
        (Some(_), _) => Err(Error::internal("a part of a measurement is that of one query")),
        (None, _) => all(args, &chosen),
    }
}

/// This process measures one thing and prints it as JSON.
fn part_of(args: &BenchArgs, part: Measurement, query: queries::Query) -> Result<()> {
    let (events, threads, memory) = (args.events as u64, args.threads, args.memory_limit);
    let input = args.input.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_stack_size(limits::PLANNING_STACK_BYTES)
        .enable_all()
        .build()?;
    let work = async move {
        match part {
            Measurement::Stream => stream::measure(query, events, input.as_deref(), memory).await,
            Measurement::Batch => batch::measure(query, events, input.as_deref(), threads).await,
        }
    };
    let measured = runtime
        .block_on(runtime.spawn(work))
        .map_err(|error| Error::internal(error.to_string()))??;
    report::print(&(text(&measured)? + "\n"))
}

/// Has each query measured, one after the other.
fn all(args: &BenchArgs, chosen: &[queries::Query]) -> Result<()> {
    let input =
        args.input.as_ref().map_or("generated".to_owned(), |path| path.display().to_string());
    let mut report = Report::new(args.format == ReportFormat::Json, args.compare.is_some());
    let mut differing = Vec::new();
    for query in chosen {
        report.progress(&query.name);
        let stream = measured_apart(args, &query.name, Measurement::Stream)?;
        let batch = match args.compare {
            Some(Compare::Batch) => Some(measured_apart(args, &query.name, Measurement::Batch)?),
            None => None,
        };
        if stream.unread > 0 {
            report.note(&format!(
                "{}: {} rows were late, malformed or without a time",
                query.name, stream.unread
            ));
        }
        if let Some(batch) = &batch
            && batch.net_rows != stream.net_rows
        {
            differing.push(format!(
                "{} ({} rows, the batch {})",
                query.name, stream.net_rows, batch.net_rows
            ));
        }
        report.row(&Row::new(&query.name, &input, args.threads, &stream, batch.as_ref()))?;
    }
    if differing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        SqlState::Internal,
        format!("answers differ from the batch's: {}", differing.join(", ")),
    ))
}

/// Starts this program again for one measurement.
fn measured_apart(args: &BenchArgs, query: &str, part: Measurement) -> Result<Measured> {
    let part = match part {
        Measurement::Stream => "stream",
        Measurement::Batch => "batch",
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", query, "--part", part, "--format", "json"]);
    command.args(["--events", &args.events.to_string(), "--threads", &args.threads.to_string()]);
    command.args(["--memory-limit", &args.memory_limit.to_string()]);
    if let Some(path) = &args.input {
        command.arg("--input").arg(path);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let said = said.trim().trim_start_matches("tidemill: ");
        return Err(Error::new(SqlState::Internal, format!("{query} ({part}): {said}")));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::internal(format!("{query} ({part}) answered no figures: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small enough for a debug build, large enough for several windows and epochs.
    const EVENTS: u64 = 150_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_query_gives_as_many_rows_as_its_batch() {
        let mut names = queries::names();
        names.push("qhop3".to_owned());
        for name in names.iter().filter(|name| *name != "qhop") {
            let query = queries::find(name).unwrap();
            let stream = stream::measure(query.clone(), EVENTS, None, 1 << 30).await;
            let stream = stream.unwrap_or_else(|error| panic!("{name}: {error}"));
            let batch = batch::measure(query.clone(), EVENTS, None, 2).await;
            let batch = batch.unwrap_or_else(|error| panic!("{name} as a batch: {error}"));
            assert_eq!((stream.net_rows, stream.unread), (batch.net_rows, 0), "{name}");
            assert!(stream.net_rows > 0 && stream.events == EVENTS, "{name}");
            assert!(query.revises || stream.output_rows == batch.output_rows, "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_bids_can_be_read_in_three_formats() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage::BenchRelations::set().unwrap();
        let schema = stage.schema("bid").unwrap();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let bids = input::generate("bid", 2_000, schema, &all).unwrap();
        let path = |name: &str| dir.path().join(name);
        let create = |name: &str| std::fs::File::create(path(name)).unwrap();
        let mut csv = arrow::csv::WriterBuilder::new().with_header(true).build(create("bids.csv"));
        let mut json = arrow::json::LineDelimitedWriter::new(create("bids.json"));
        let schema = bids.batches[0].schema();
        let mut parquet =
            datafusion::parquet::arrow::ArrowWriter::try_new(create("bids.parquet"), schema, None)
                .unwrap();
        for batch in bids.batches.iter() {
            csv.write(batch).unwrap();
            json.write(batch).unwrap();
            parquet.write(batch).unwrap();
        }
        json.finish().unwrap();
        parquet.close().unwrap();
        let query = queries::find("qk").unwrap();
        let expected =
            stream::measure(query.clone(), 2_000, None, 1 << 30).await.unwrap().output_rows;
        for name in ["bids.csv", "bids.json", "bids.parquet"] {
            let stream =
                stream::measure(query.clone(), 0, Some(&path(name)), 1 << 30).await.unwrap();
            assert_eq!(
                (stream.events, stream.unread, stream.output_rows),
                (2_000, 0, expected),
                "{name}"
            );
            let batch = batch::measure(query.clone(), 0, Some(&path(name)), 1).await.unwrap();
            assert_eq!(batch.output_rows, expected, "{name} as a batch");
        }
        let joined = queries::find("q3").unwrap();
        let path = path("bids.csv");
        let refused = stream::measure(joined.clone(), 0, Some(&path), 1 << 30).await.unwrap_err();
        assert_eq!(refused.state(), SqlState::NotSupported);
        let refused = batch::measure(joined, 0, Some(&path), 1).await.unwrap_err();
        assert_eq!(refused.state(), SqlState::NotSupported);
        assert!(input::file_format(&dir.path().join("bids.txt")).is_err());
    }
}
