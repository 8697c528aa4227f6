//! Runs one pipeline: an epoch's input goes in, the epoch's change of the answer comes out.
//!
//! A runner is all there is of a continuous query between epochs: its fragments, its operators'
//! state, the watermark it has come to, and its counters. It neither reads nor commits nor
//! publishes; the same runner serves a materialized view, a continuous SELECT and the benchmark.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::above::with_schema;
use super::answering::Answering;
use super::codec::{StateTables, source_part, step_parts};
use super::map::Tables;
use super::running_source::RunningSource;
use super::running_step::{RunningStep, Takers};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::MemoryPart;
use crate::operators::lateness::{Input, split};
use crate::operators::{Closing, Question};
use crate::plan::{Giver, Pipeline};
use crate::state::{Delta, StateTable, of_another_form};
use crate::time::{Watermark, micros_of_ticks};

mod figures;

/// Where a runner puts the change of the answer, piece by piece as it is computed: a client that
/// reads slowly holds up its query before the change of a whole epoch (all windows that
/// `advance_watermark('infinity')` closes, say) has been put together in memory.
pub trait Outlet: Send {
    /// Takes a piece; never an empty one.
    fn put(&mut self, delta: Delta) -> BoxFuture<'_, Result<()>>;
}

/// A view needs the change of the epoch as a whole: it is committed as a whole.
impl Outlet for Vec<Delta> {
    fn put(&mut self, delta: Delta) -> BoxFuture<'_, Result<()>> {
        self.push(delta);
        std::future::ready(Ok(())).boxed()
    }
}

/// What a query has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Rows read from the source.
    pub rows_in: u64,
    /// Rows put out (for EMIT CHANGES: new versions).
    pub rows_out: u64,
    /// Rows that came after all their windows had closed.
    pub late_rows: u64,
    /// Rows without an event time.
    pub rejected_rows: u64,
}

/// A running pipeline.
pub struct Runner {
    pipeline: Arc<Pipeline>,
    sources: Vec<RunningSource>,
    steps: Vec<RunningStep>,
    state: Arc<SessionState>,
    tables_version: u64,
    /// What has been counted.
    pub counters: Counters,
    /// What its operators, which count from their own beginning, have not counted of the rejected
    /// rows.
    rejected_before: u64,
    /// Late rows since they were last taken, the newest [`limits::KEPT_ROWS`].
    late: VecDeque<RecordBatch>,
    /// What the state takes of `--memory-limit`.
    memory: MemoryReservation,
    in_epoch: bool,
    /// The time of the epoch, milliseconds since 1970. It never goes back, also if the clock does.
    now_ms: i64,
    /// It is to run no more.
    stop: CancellationToken,
}

/// Which ports of steps take what this gives.
fn takers(pipeline: &Pipeline, giver: Giver) -> Takers {
    let ports = pipeline.steps.iter().enumerate().flat_map(|(step, plan)| {
        let inputs = plan.inputs.iter().enumerate();
        inputs.filter(|(_, input)| **input == giver).map(move |(port, _)| (step, port))
    });
    ports.collect()
}

impl Runner {
    /// A runner without any state, of which none is stored; `tables` gives the static tables' present versions.
    pub async fn new(
        pipeline: Arc<Pipeline>,
        state: Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<Runner> {
        let marks = Default::default();
        let mut runner = Self::at(pipeline, state, tables, &marks, Counters::default()).await?;
        // Nobody comes back to it.
        runner.sources.iter_mut().for_each(|source| source.kept = None);
        Ok(runner)
    }

    /// A runner whose sources are at these watermarks and whose steps have come so far (if that does
    /// not follow), to which its state is still to be given by `restore_rows`.
    pub async fn at(
        pipeline: Arc<Pipeline>,
        state: Arc<SessionState>,
        tables: &dyn Tables,
        (watermarks, frontiers): &(Vec<Watermark>, Vec<Watermark>),
        counters: Counters,
    ) -> Result<Runner> {
        // Whatever commits while the rest is put together is seen by the first epoch.
        let tables_version = tables.version(&pipeline)?;
        let mut sources = Vec::with_capacity(pipeline.sources.len());
        for (at, source) in pipeline.sources.iter().enumerate() {
            let watermark = watermarks.get(at).copied().unwrap_or(Watermark::NONE);
            let to = takers(&pipeline, Giver::Source(at));
            sources.push(RunningSource::at(source, to, watermark, &state, tables).await?);
        }
        let mut steps: Vec<RunningStep> = Vec::with_capacity(pipeline.steps.len());
        for at in 0..pipeline.steps.len() {
            let giver = |giver: &Giver| match *giver {
                Giver::Source(at) => sources[at].watermark,
                Giver::Step(at) => match frontiers.get(at) {
                    Some(frontier) => *frontier,
                    None => steps[at].frontier(steps[at].input()),
                },
            };
            let passed: Vec<Watermark> = pipeline.steps[at].inputs.iter().map(giver).collect();
            let to = takers(&pipeline, Giver::Step(at));
            steps.push(RunningStep::new(&pipeline, at, passed, to, &state, tables).await?);
        }
        let memory = reserve(&state, MemoryPart::State.consumer());
        Ok(Runner {
            pipeline,
            sources,
            steps,
            state,
            tables_version,
            counters,
            rejected_before: counters.rejected_rows,
            late: VecDeque::new(),
            memory,
            in_epoch: false,
            now_ms: i64::MIN,
            stop: CancellationToken::new(),
        })
    }

    /// Ends what it is doing, with 57014, when this is cancelled.
    pub(super) fn stopped_by(&mut self, stop: CancellationToken) {
        self.stop = stop;
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(Error::new(SqlState::Cancelled, "the query is to run no more"));
        }
        Ok(())
    }

    /// Takes in rows of the state as they were stored, in the order in which they were.
    pub(super) fn restore_rows(&mut self, part: u8, rows: &RecordBatch) -> Result<()> {
        let Some((_, table)) = self.tables().into_iter().find(|table| table.0 == part) else {
            return Err(of_another_form());
        };
        table.restore_rows(rows)?;
        self.keep_to_the_limit()
    }

    /// All of the state has been taken in.
    pub(super) fn restored(&mut self) -> Result<()> {
        self.tables().into_iter().try_for_each(|(_, table)| table.restored())?;
        self.steps.iter_mut().try_for_each(|step| step.operator.state_restored())?;
        self.keep_to_the_limit()
    }

    /// The state, each table with the part that it is stored as.
    pub(super) fn tables(&mut self) -> StateTables<'_> {
        let mut tables: StateTables<'_> = Vec::new();
        for (at, source) in self.sources.iter_mut().enumerate() {
            let kept = source.kept.as_mut();
            tables.extend(kept.map(|table| (source_part(at), table as &mut dyn StateTable)));
        }
        for (at, step) in self.steps.iter_mut().enumerate() {
            let own = step.operator.tables();
            let (parts, emitted) = step_parts(at, own.len());
            tables.extend(parts.into_iter().zip(own));
            let kept = step.above.as_mut().and_then(|above| above.emitted.as_mut());
            tables.extend(kept.map(|table| (emitted, table as &mut dyn StateTable)));
        }
        tables
    }

    /// The rows that have been read of a source, if that is a static table.
    pub(super) fn read_of_table(&self, source: usize) -> Result<Vec<RecordBatch>> {
        self.sources[source].kept.as_ref().map_or(Ok(Vec::new()), |kept| kept.rows_of(&[], 1))
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The watermark that the query has come to: the least of its sources', in ticks of the first of
    /// them that has one.
    pub fn watermark(&self) -> Watermark {
        let mut timed = self.sources.iter().filter(|source| source.time_unit.is_some());
        let Some(first) = timed.next() else {
            return self.sources.first().map_or(Watermark::NONE, |source| source.watermark);
        };
        timed.fold(first.watermark, |least, source| least.min(source.watermark_in(first)))
    }

    /// The watermark of each source.
    pub fn watermarks(&self) -> impl Iterator<Item = Watermark> {
        self.sources.iter().map(|source| source.watermark)
    }

    /// How far what each step has given is complete, if that does not follow from the watermarks.
    pub(super) fn frontiers(&self) -> Vec<Watermark> {
        let steps = self.steps.iter().filter(|_| self.pipeline.has_rows_that_wait());
        steps.map(|step| step.frontier(step.input())).collect()
    }

    /// How far what it has given is complete, ticks: rows to come are not older.
    pub(super) fn complete_to(&self) -> Watermark {
        let last = self.steps.last().map(|step| step.frontier(step.input()));
        let complete = last.map_or(self.watermark(), |last| last.min(self.watermark()));
        self.pipeline.event_time.map_or(Watermark::NONE, |time| complete.less(time.behind))
    }

    /// Whether a source has a watermark of its own.
    pub fn has_event_time(&self, source: usize) -> bool {
        self.sources[source].time_unit.is_some()
    }

    /// The greatest watermark a source has come to that is not the end of time, microseconds since
    /// 1970.
    pub fn watermark_micros(&self, source: usize) -> Option<i64> {
        self.sources[source].watermark_micros()
    }

    /// Takes a part of an epoch's input from a source. Parts end where writes end: windows may be
    /// closed by the watermark between two parts.
    pub async fn accept(
        &mut self,
        source: usize,
        inputs: Vec<Input>,
        tables: &dyn Tables,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if inputs.is_empty() {
            return Ok(());
        }
        self.begin_epoch(tables, outlet).await?;
        let closes = self.sources[source].plan.lateness.is_some();
        if !closes && inputs.iter().all(|input| input.weights.is_none()) {
            return self.accept_all(source, inputs, outlet).await;
        }
        for input in inputs {
            self.check_stop()?;
            self.counters.rows_in += input.batch.num_rows() as u64;
            self.take(source, &input, tables, outlet).await?;
            self.sources[source].has_taken(&input)?;
            self.keep_to_the_limit()?;
        }
        Ok(())
    }

    /// Once an epoch: all of it sees the same version of each table, and one time.
    async fn begin_epoch(&mut self, tables: &dyn Tables, outlet: &mut dyn Outlet) -> Result<()> {
        if self.in_epoch {
            return Ok(());
        }
        self.use_present_tables(tables).await?;
        self.now_ms = tables.now_ms().max(self.now_ms);
        if let Some(moment) = &self.pipeline.moment {
            moment.set(self.now_ms);
        }
        self.in_epoch = true;
        self.sources.iter_mut().for_each(|source| source.work.begin_epoch());
        self.steps.iter_mut().for_each(|step| step.work.begin_epoch());
        for at in 0..self.steps.len() {
            self.tick_step(at, outlet).await?;
        }
        Ok(())
    }

    /// What comes or goes of an operator's rows by the time of the epoch, a portion at a time.
    async fn tick_step(&mut self, at: usize, outlet: &mut dyn Outlet) -> Result<()> {
        let now = self.now_ms.saturating_mul(1_000);
        loop {
            self.check_stop()?;
            let mut out = Vec::new();
            let ticking = self.steps[at].operator.tick(now, &mut out)?;
            for delta in out {
                self.carry(at, delta, outlet).await?;
            }
            if ticking == Closing::Done {
                return Ok(());
            }
        }
    }

    /// Begins an epoch if something comes or goes in it without any row; whether it does.
    pub async fn tick(&mut self, tables: &dyn Tables, outlet: &mut dyn Outlet) -> Result<bool> {
        let is_due = self.wakes_ms().is_some_and(|at| at <= tables.now_ms());
        if is_due {
            self.begin_epoch(tables, outlet).await?;
        }
        Ok(is_due)
    }

    /// When something next comes or goes without any row, milliseconds since 1970.
    pub fn wakes_ms(&self) -> Option<i64> {
        let wakes = self.steps.iter().filter_map(|step| step.operator.wakes()).min()?;
        Some(wakes.div_euclid(1_000) + i64::from(wakes.rem_euclid(1_000) > 0))
    }

    /// The least watermark that closes something, microseconds since 1970.
    pub fn closes_next(&self) -> Option<i64> {
        let next = |at: usize| {
            let closes = self.steps[at].operator.closes_next()?;
            let micros = micros_of_ticks(closes.0, self.unit_of(Giver::Step(at))?);
            // What has closed below is complete up to a millisecond before.
            let is_on_source =
                self.pipeline.steps[at].inputs.iter().any(|i| matches!(i, Giver::Source(_)));
            Some(if is_on_source { micros } else { micros.saturating_add(1_000) })
        };
        (0..self.steps.len()).filter_map(next).min()
    }

    /// The time of the last epoch, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The time of no epoch to come is before this.
    pub fn not_before(&mut self, now_ms: i64) {
        self.now_ms = now_ms.max(self.now_ms);
    }

    /// Takes inputs of which no row can be late: the fragment is run once for all of them, for each
    /// run has its cost.
    async fn accept_all(
        &mut self,
        source: usize,
        inputs: Vec<Input>,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let (mut batches, mut rows) = (Vec::new(), 0);
        for input in inputs {
            self.counters.rows_in += input.batch.num_rows() as u64;
            self.sources[source].has_taken(&input)?;
            if input.batch.num_rows() > 0 {
                rows += input.batch.num_rows();
                batches.push(input.batch);
            }
            // What comes out of it is held in memory.
            if rows >= limits::HISTORY_ROWS {
                rows = 0;
                self.push_rows(source, std::mem::take(&mut batches), outlet).await?;
            }
        }
        self.push_rows(source, batches, outlet).await?;
        self.keep_to_the_limit()
    }

    /// Ends the epoch: closes what the watermarks close, and puts out the rest of the change of the
    /// answer.
    pub async fn end(&mut self, outlet: &mut dyn Outlet) -> Result<()> {
        self.in_epoch = false;
        for source in 0..self.sources.len() {
            let to = Arc::clone(&self.sources[source].to);
            self.reach(&to, self.sources[source].watermark);
        }
        for at in 0..self.steps.len() {
            self.close_step(at, outlet).await?;
            while let Some(question) = self.steps[at].question(None)? {
                self.ask(at, question, outlet).await?;
            }
            self.settle(at, outlet).await?;
        }
        let answering = self.steps.iter().filter_map(|step| step.answering.as_ref());
        answering.for_each(Answering::taken);
        self.keep_to_the_limit()?;
        let rejected: u64 = self.steps.iter().map(|step| step.operator.rejected()).sum();
        self.counters.rejected_rows = self.rejected_before + rejected;
        Ok(())
    }

    /// What comes to these ports is complete up to there.
    fn reach(&mut self, ports: &Takers, watermark: Watermark) {
        for (step, port) in ports.iter() {
            let passed = &mut self.steps[*step].passed[*port];
            *passed = watermark.max(*passed);
        }
    }

    /// Closes what this watermark of a source closes.
    async fn close(
        &mut self,
        source: usize,
        watermark: Watermark,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let to = Arc::clone(&self.sources[source].to);
        self.reach(&to, watermark);
        for at in 0..self.steps.len() {
            self.close_step(at, outlet).await?;
        }
        Ok(())
    }

    /// Closes in an operator what its input closes, a portion at a time, and tells the next one how
    /// far what it has given out is complete.
    async fn close_step(&mut self, at: usize, outlet: &mut dyn Outlet) -> Result<()> {
        let watermark = self.steps[at].input();
        loop {
            self.check_stop()?;
            let mut out = Vec::new();
            let closing = self.steps[at].close(watermark, &mut out, !self.in_epoch)?;
            for delta in out {
                self.carry(at, delta, outlet).await?;
            }
            match closing {
                Closing::Done => break,
                Closing::More => {}
            }
        }
        while let Some(question) = self.steps[at].question(Some(watermark))? {
            self.ask(at, question, outlet).await?;
        }
        // Nobody asks how far the last one is, and this is done for each piece of a write. One that has
        // a plan answer at the end of the epoch has not given all until then.
        let waits = self.in_epoch && self.steps[at].answering.is_some();
        if !waits && !self.steps[at].to.is_empty() {
            let (to, frontier) =
                (Arc::clone(&self.steps[at].to), self.steps[at].frontier(watermark));
            self.reach(&to, frontier);
        }
        Ok(())
    }

    /// Gives on what an operator knows at the end of an epoch, a portion at a time.
    async fn settle(&mut self, at: usize, outlet: &mut dyn Outlet) -> Result<()> {
        loop {
            self.check_stop()?;
            let mut out = Vec::new();
            let closing = self.steps[at].settle(&mut out)?;
            for delta in out {
                self.carry(at, delta, outlet).await?;
            }
            if closing == Closing::Done {
                return Ok(());
            }
        }
    }

    /// Has the plan of an operator answer, and takes the answer on.
    async fn ask(&mut self, at: usize, question: Question, outlet: &mut dyn Outlet) -> Result<()> {
        self.check_stop()?;
        let mut answers = self.steps[at].ask(&question)?;
        if !self.steps[at].operator.answers_in_parts() {
            let delta = self.steps[at].answer(answers, &self.stop).await?;
            return self.carry(at, delta, outlet).await;
        }
        while let Some(batch) = answers.next(&self.stop).await? {
            let delta = self.steps[at].operator.part(batch)?;
            self.carry(at, delta, outlet).await?;
            self.keep_to_the_limit()?;
        }
        Ok(())
    }

    /// From the output of an operator to the next one, or out.
    fn carry<'a>(
        &'a mut self,
        at: usize,
        delta: Delta,
        outlet: &'a mut dyn Outlet,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if delta.is_empty() {
                return Ok(());
            }
            let delta = self.steps[at].carry(delta).await?;
            let to = Arc::clone(&self.steps[at].to);
            self.give(&to, delta, outlet).await
        }
        .boxed()
    }

    /// Gives rows to ports of steps, or out.
    async fn give(&mut self, to: &Takers, delta: Delta, outlet: &mut dyn Outlet) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        if to.is_empty() {
            return self.put(delta, outlet).await;
        }
        for (at, port) in to.iter() {
            for passed_on in self.steps[*at].push(*port, &delta)? {
                self.carry(*at, passed_on?, outlet).await?;
            }
        }
        Ok(())
    }

    /// Out, with the columns that the query has.
    async fn put(&mut self, delta: Delta, outlet: &mut dyn Outlet) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let batch = with_schema(&delta.batch, &self.pipeline.schema)?;
        let delta = Delta { batch, weights: delta.weights };
        self.counters.rows_out += added(&delta);
        outlet.put(delta).await
    }

    async fn take(
        &mut self,
        source: usize,
        input: &Input,
        tables: &dyn Tables,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if let Some(weights) = &input.weights {
            return self.push_weighted(source, &input.batch, weights, outlet).await;
        }
        let Some(rule) = self.sources[source].plan.lateness else {
            return self.push_rows(source, vec![input.batch.clone()], outlet).await;
        };
        let split = split(input, &rule)?;
        for piece in split.pieces {
            if let Some(watermark) = piece.close_first {
                self.close(source, watermark, outlet).await?;
            }
            self.push_rows(source, vec![piece.rows], outlet).await?;
        }
        if rule.windows.is_none() {
            let late: Vec<_> = self.steps.iter_mut().flat_map(|s| s.operator.late()).collect();
            late.into_iter().for_each(|late| self.keep_late(late));
        }
        let Some(late) = split.late else { return Ok(()) };
        if let Some(late) = self.sources[source].late(late, tables).await? {
            self.keep_late(late);
        }
        Ok(())
    }

    /// Takes rows through the fragment below to what is above it.
    async fn push_rows(
        &mut self,
        source: usize,
        rows: Vec<RecordBatch>,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if rows.iter().all(|rows| rows.num_rows() == 0) {
            return Ok(());
        }
        let to = Arc::clone(&self.sources[source].to);
        for batch in self.sources[source].run(rows).await? {
            self.check_stop()?;
            self.give(&to, Delta::insert(batch), outlet).await?;
        }
        Ok(())
    }

    /// Rows of a view's change: those that go are taken out first.
    async fn push_weighted(
        &mut self,
        source: usize,
        rows: &RecordBatch,
        weights: &Int64Array,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let change = Delta::new(rows.clone(), weights.clone());
        let to = Arc::clone(&self.sources[source].to);
        for sign in [-1_i64, 1] {
            let rows = change.of_sign(sign)?;
            if rows.num_rows() == 0 {
                continue;
            }
            for batch in self.sources[source].run(vec![rows]).await? {
                let signs = Int64Array::from_value(sign, batch.num_rows());
                self.give(&to, Delta::new(batch, signs), outlet).await?;
            }
        }
        Ok(())
    }

    fn keep_late(&mut self, late: RecordBatch) {
        self.counters.late_rows += late.num_rows() as u64;
        self.late.push_back(late);
        let mut kept: usize = self.late.iter().map(RecordBatch::num_rows).sum();
        while let Some(oldest) = self.late.front() {
            if kept - oldest.num_rows() < limits::KEPT_ROWS {
                break;
            }
            kept -= oldest.num_rows();
            self.late.pop_front();
        }
    }

    /// The newest late rows since the last call, not more than are kept: the source's columns that
    /// the query reads.
    pub fn drain_late(&mut self) -> Vec<RecordBatch> {
        let rows: usize = self.late.iter().map(RecordBatch::num_rows).sum();
        // All that is too much is in the oldest batch.
        if let Some(oldest) = self.late.front_mut() {
            let surplus = rows.saturating_sub(limits::KEPT_ROWS);
            *oldest = oldest.slice(surplus, oldest.num_rows() - surplus);
        }
        self.late.drain(..).collect()
    }

    /// A micro-batch sees one version of each table, no older than any table commit before its
    /// rows.
    async fn use_present_tables(&mut self, tables: &dyn Tables) -> Result<()> {
        if self.pipeline.tables.is_empty() {
            return Ok(());
        }
        let version = tables.version(&self.pipeline)?;
        if version == self.tables_version {
            return Ok(());
        }
        for source in &mut self.sources {
            source.use_tables(tables).await?;
        }
        for above in self.steps.iter_mut().filter_map(|step| step.above.as_mut()) {
            if above.fragment.spec().has_tables {
                let plan = tables.resolve(&above.fragment.spec().plan)?;
                above.fragment.replace(plan).await?;
            }
        }
        self.tables_version = version;
        Ok(())
    }

    /// Bytes and rows of state.
    pub fn state_size(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for kept in self.sources.iter().filter_map(|source| source.kept.as_ref()) {
            sum = (sum.0 + kept.size(), sum.1 + kept.rows());
        }
        for step in &self.steps {
            let (bytes, rows) = step.size();
            sum = (sum.0 + bytes, sum.1 + rows);
        }
        sum
    }

    /// 53200 when the state has become more than there is memory for.
    fn keep_to_the_limit(&self) -> Result<()> {
        Ok(self.memory.try_resize(self.state_size().0)?)
    }

    /// DataFusion's state that the fragments run in.
    pub fn session_state(&self) -> &Arc<SessionState> {
        &self.state
    }
}

/// A share of `--memory-limit` that what it is for takes and gives back.
pub fn reserve(state: &SessionState, what: &str) -> MemoryReservation {
    MemoryConsumer::new(what).register(&state.runtime_env().memory_pool)
}

fn added(delta: &Delta) -> u64 {
    match &delta.weights {
        None => delta.batch.num_rows() as u64,
        Some(weights) => {
            weights.values().iter().filter(|weight| **weight > 0).map(|weight| *weight as u64).sum()
        }
    }
}
