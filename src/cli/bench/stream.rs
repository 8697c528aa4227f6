//! Measures a query as Tidemill runs it: epoch by epoch, from the events to the change of the
//! answer.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::measured::Measured;
use super::queries::Query;
use super::stage::BenchRelations;
use super::{input, usage};
use crate::catalog::Emission;
use crate::clock::{Stopwatch, WallClock};
use crate::connect::Source;
use crate::error::{Error, Result};
use crate::exec::define::emission;
use crate::exec::feed::Feed;
use crate::exec::position::{Start, watermark_of};
use crate::exec::runner::{Outlet, Runner};
use crate::log::{CommitNo, Journal};
use crate::plan::{CutOptions, Pipeline, Planner, SourcePlan};
use crate::sql;
use crate::state::Delta;
use crate::store::MemoryStore;

/// Rows of an epoch.
const PORTION: u64 = 65_536;

/// Runs the query over so many generated rows, or over the bids in a file.
pub(super) async fn measure(
    query: Query,
    events: u64,
    file: Option<&Path>,
    memory: usize,
) -> Result<Measured> {
    let stage = Arc::new(BenchRelations::set()?);
    let planner = Planner::new(1, memory, Arc::new(WallClock))?;
    let state = planner.continuous_state(Arc::clone(&stage) as _);
    let parsed = sql::parse_query(&query.sql)?;
    let plan = planner.logical(&state, &parsed.query).await?;
    let emission = emission(parsed.emit, Emission::OnChange);
    let options =
        CutOptions { emission, lateness_ms: 0, limit_ends: false, state: Default::default() };
    let pipeline = Arc::new(planner.pipeline(&state, &plan, options)?);
    let streams = streams(&pipeline);
    // The feed asks for it, and does not use it where there is a connector.
    let journal = Journal::open(Arc::new(MemoryStore::new()))?;
    let mut feeds = Vec::new();
    for SourcePlan { scan, .. } in &pipeline.sources {
        let name = scan.relation.name.as_str();
        let schema = stage.schema(name)?;
        let source: Arc<dyn Source> = match file {
            Some(path) => input::open_bids(path, &streams, schema)?,
            None => {
                let rows = input::share(name, &streams, events);
                Arc::new(input::generate(name, rows, schema, &read_columns(&pipeline, name))?)
            }
        };
        let feed = Feed::open(scan, &journal, Some(&source), None, Start::Earliest)?;
        // What happened at one time is read in one epoch.
        let portion = input::share(name, &streams, PORTION).max(1) as usize;
        feeds.push((feed, portion));
    }
    let runner = Runner::new(pipeline, Arc::new(state), stage.as_ref()).await?;
    let measured = run(feeds, runner, &stage).await?;
    journal.stop();
    Ok(measured)
}

/// The streams that it reads, each once, in their order.
fn streams(pipeline: &Pipeline) -> Vec<&'static str> {
    let is_read =
        |name: &str| pipeline.sources.iter().any(|source| source.scan.relation.name == name);
    input::STREAMS.map(|(name, _)| name).into_iter().filter(|name| is_read(name)).collect()
}

/// The columns that the feeds read of a stream: the query's, and the time, which may not be among
/// them.
fn read_columns(pipeline: &Pipeline, stream: &str) -> Vec<usize> {
    let mut columns: Vec<usize> = Vec::new();
    for source in pipeline.sources.iter().filter(|source| source.scan.relation.name == stream) {
        let time = watermark_of(&source.scan.relation).map(|(time, _)| time);
        let new = source.scan.columns.iter().copied().chain(time);
        let new: Vec<usize> = new.filter(|column| !columns.contains(column)).collect();
        columns.extend(new);
    }
    columns
}

/// Each feed with the rows of its part of an epoch.
async fn run(
    mut feeds: Vec<(Feed, usize)>,
    mut runner: Runner,
    stage: &BenchRelations,
) -> Result<Measured> {
    let mut epochs = Vec::new();
    let mut output = Counted { net_rows: 0 };
    let mut rejected = 0;
    usage::forget_peak();
    let (memory_before, _) = usage::memory()?;
    let cpu_before = usage::cpu_seconds()?;
    let watch = Stopwatch::start();
    loop {
        let epoch = Stopwatch::start();
        let mut ended = true;
        for (source, (feed, portion)) in feeds.iter_mut().enumerate() {
            let read = feed.read(CommitNo(0), 0, *portion, None, stage)?;
            rejected += read.rejected.len() as u64;
            ended &= read.ended;
            runner.accept(source, read.inputs, stage, &mut output).await?;
        }
        runner.end(&mut output).await?;
        epochs.push(epoch.ms());
        if ended {
            break;
        }
    }
    let wall_s = watch.ms() / 1_000.0;
    let cpu_s = usage::cpu_seconds()? - cpu_before;
    let (_, peak) = usage::memory()?;
    let counters = runner.counters;
    if counters.rows_in == 0 {
        return Err(Error::internal("there were no events to measure with"));
    }
    epochs.sort_by(f64::total_cmp);
    Ok(Measured {
        events: counters.rows_in,
        wall_s,
        cpu_s,
        peak_rss_mb: peak.saturating_sub(memory_before) as f64 / 1e6,
        output_rows: counters.rows_out,
        net_rows: output.net_rows,
        unread: rejected + counters.late_rows + counters.rejected_rows,
        epoch_p50_ms: quantile(&epochs, 0.50),
        epoch_p99_ms: quantile(&epochs, 0.99),
    })
}

/// Counts the output and lets it go.
struct Counted {
    net_rows: i64,
}

impl Outlet for Counted {
    fn put(&mut self, delta: Delta) -> BoxFuture<'_, Result<()>> {
        self.net_rows += net(&delta);
        std::future::ready(Ok(())).boxed()
    }
}

/// Rows that appear less rows that go.
fn net(delta: &Delta) -> i64 {
    match &delta.weights {
        None => delta.batch.num_rows() as i64,
        Some(weights) => weights.values().iter().sum(),
    }
}

/// Of sorted numbers; 0 of none.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
}
