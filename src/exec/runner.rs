//! Runs one pipeline: an epoch's input goes in, the epoch's change of the answer comes out.
//!
//! A runner is all there is of a continuous query between epochs: its fragments, its operators'
//! state, the watermark it has come to, and its counters. It neither reads nor commits nor
//! publishes; the same runner serves a materialized view, a continuous SELECT and the benchmark.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::{Int64Type, TimeUnit};
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::above::{Above, numbered_plan, with_row_numbers, with_schema};
use super::codec::{StateTables, step_parts};
use super::map::{Fragment, Tables};
use super::operator::{Operator, assigned};
use super::position::time_unit;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::MemoryPart;
use crate::operators::Closing;
use crate::operators::emitted::EmittedRows;
use crate::operators::lateness::{Input, finite_watermark, split};
use crate::plan::{FragmentPlan, Frontier, Pipeline};
use crate::state::{Delta, StateTable};
use crate::time::{Watermark, micros_of_ticks};

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
    below: Fragment,
    /// `below` with the number of the row carried through; made when the first late row comes.
    numbered: Option<Fragment>,
    steps: Vec<RunningStep>,
    state: Arc<SessionState>,
    tables_version: u64,
    watermark: Watermark,
    finite_watermark: Watermark,
    /// Of the watermarks.
    time_unit: Option<TimeUnit>,
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
    /// It is to run no more.
    stop: CancellationToken,
}

/// An operator and what takes its changes on.
struct RunningStep {
    operator: Operator,
    frontier: Frontier,
    /// None: nothing is to be done.
    above: Option<Above>,
}

impl RunningStep {
    /// How far what it has given out is complete when its input is as far as this, and it has given
    /// out all that this closes.
    fn frontier(&self, watermark: Watermark) -> Watermark {
        match self.frontier {
            Frontier::Closed => self.operator.frontier(watermark),
            Frontier::Input => watermark,
        }
    }

    /// From the operator's output to what is above.
    async fn carry(&mut self, delta: Delta) -> Result<Delta> {
        let delta = self.operator.picked(delta)?;
        match &mut self.above {
            None => Ok(delta),
            Some(above) => above.run(delta).await,
        }
    }
}

impl Runner {
    /// A runner without any state; `tables` gives the static tables' present versions.
    pub async fn new(
        pipeline: Arc<Pipeline>,
        state: Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<Runner> {
        Self::at(pipeline, state, tables, Watermark::NONE, Counters::default()).await
    }

    /// A runner at this place, to which its state is still to be given by
    /// `restore_rows`.
    pub async fn at(
        pipeline: Arc<Pipeline>,
        state: Arc<SessionState>,
        tables: &dyn Tables,
        watermark: Watermark,
        counters: Counters,
    ) -> Result<Runner> {
        // Whatever commits while the rest is put together is seen by the first epoch.
        let tables_version = tables.version(&pipeline)?;
        let below = Fragment::new(
            &pipeline.below,
            tables.resolve(&pipeline.below.plan)?,
            Arc::clone(&state),
        )
        .await?;
        let mut steps = Vec::with_capacity(pipeline.steps.len());
        let mut passed = watermark;
        for (at, step) in pipeline.steps.iter().enumerate() {
            let input = pipeline.step_input(at).inner();
            let operator = Operator::at(&step.operator, input, passed)?;
            let schema = if at + 1 == pipeline.steps.len() {
                &pipeline.schema
            } else {
                step.above.plan.schema().inner()
            };
            let schema = Arc::clone(schema);
            let above = if step.above.is_identity {
                None
            } else {
                Some(Above::new(step, pipeline.emission, schema, &state, tables).await?)
            };
            let step = RunningStep { operator, frontier: step.frontier, above };
            passed = step.frontier(passed);
            steps.push(step);
        }
        let memory = reserve(&state, MemoryPart::State.consumer());
        let time_unit = time_unit(&pipeline.source.relation);
        Ok(Runner {
            pipeline,
            below,
            numbered: None,
            steps,
            state,
            tables_version,
            watermark,
            finite_watermark: match watermark {
                Watermark::INFINITY => Watermark::NONE,
                finite => finite,
            },
            time_unit,
            counters,
            rejected_before: counters.rejected_rows,
            late: VecDeque::new(),
            memory,
            in_epoch: false,
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
            return Err(Error::new(
                SqlState::Corrupted,
                "a query has state stored that it does not use",
            ));
        };
        table.restore_rows(rows)?;
        self.keep_to_the_limit()
    }

    /// All of the state has been taken in.
    pub(super) fn restored(&mut self) -> Result<()> {
        self.tables().into_iter().try_for_each(|(_, table)| table.restored())?;
        self.keep_to_the_limit()
    }

    /// The state, each table with the part that it is stored as.
    pub(super) fn tables(&mut self) -> StateTables<'_> {
        let mut tables: StateTables<'_> = Vec::new();
        for (at, step) in self.steps.iter_mut().enumerate() {
            let [operator, emitted] = step_parts(at);
            tables.extend(step.operator.table().map(|table| (operator, table)));
            let kept = step.above.as_mut().and_then(|above| above.emitted.as_mut());
            tables.extend(kept.map(|table| (emitted, table as &mut dyn StateTable)));
        }
        tables
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The watermark that the query has come to.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The greatest watermark it has come to that is not the end of time, microseconds since 1970.
    pub fn watermark_micros(&self) -> Option<i64> {
        let is_known = self.finite_watermark != Watermark::NONE;
        self.time_unit
            .filter(|_| is_known)
            .map(|unit| micros_of_ticks(self.finite_watermark.0, unit))
    }

    /// Takes a part of an epoch's input. Parts end where writes end: windows may be closed by the
    /// watermark between two parts.
    pub async fn accept(
        &mut self,
        inputs: Vec<Input>,
        tables: &dyn Tables,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if inputs.is_empty() {
            return Ok(());
        }
        // Once an epoch: all of it sees the same version of each table, and one time.
        if !self.in_epoch {
            self.use_present_tables(tables).await?;
            if let Some(moment) = &self.pipeline.moment {
                moment.set(tables.now_ms());
            }
            self.in_epoch = true;
        }
        if self.pipeline.lateness.is_none() && inputs.iter().all(|input| input.weights.is_none()) {
            return self.accept_all(inputs, outlet).await;
        }
        for input in inputs {
            self.check_stop()?;
            self.counters.rows_in += input.batch.num_rows() as u64;
            self.take(&input, tables, outlet).await?;
            self.finite_watermark = self.finite_watermark.max(finite_watermark(&input));
            self.watermark = self.watermark.max(input.after);
            self.keep_to_the_limit()?;
        }
        Ok(())
    }

    /// Takes inputs of which no row can be late: the fragment is run once for all of them, for each
    /// run has its cost.
    async fn accept_all(&mut self, inputs: Vec<Input>, outlet: &mut dyn Outlet) -> Result<()> {
        let (mut batches, mut rows) = (Vec::new(), 0);
        for input in inputs {
            self.counters.rows_in += input.batch.num_rows() as u64;
            self.finite_watermark = self.finite_watermark.max(finite_watermark(&input));
            self.watermark = self.watermark.max(input.after);
            if input.batch.num_rows() > 0 {
                rows += input.batch.num_rows();
                batches.push(input.batch);
            }
            // What comes out of it is held in memory.
            if rows >= limits::HISTORY_ROWS {
                rows = 0;
                self.push_rows(std::mem::take(&mut batches), outlet).await?;
            }
        }
        self.push_rows(batches, outlet).await?;
        self.keep_to_the_limit()
    }

    /// Ends the epoch: closes what the watermark closes, and puts out the rest of the change of the
    /// answer.
    pub async fn end(&mut self, outlet: &mut dyn Outlet) -> Result<()> {
        self.in_epoch = false;
        let mut passed = self.watermark;
        for at in 0..self.steps.len() {
            passed = self.close_step(at, passed, outlet).await?;
            if let Some(changes) = self.steps[at].operator.changes()? {
                self.carry(at, changes, outlet).await?;
            }
        }
        let rejected: u64 = self.steps.iter().map(|step| step.operator.rejected()).sum();
        self.counters.rejected_rows = self.rejected_before + rejected;
        Ok(())
    }

    /// Closes what this watermark closes.
    async fn close(&mut self, watermark: Watermark, outlet: &mut dyn Outlet) -> Result<()> {
        let mut passed = watermark;
        for at in 0..self.steps.len() {
            passed = self.close_step(at, passed, outlet).await?;
        }
        Ok(())
    }

    /// Closes what this watermark closes in an operator, a portion at a time; gives how far what it
    /// has given out is complete.
    async fn close_step(
        &mut self,
        at: usize,
        watermark: Watermark,
        outlet: &mut dyn Outlet,
    ) -> Result<Watermark> {
        loop {
            self.check_stop()?;
            let mut out = Vec::new();
            let closing = self.steps[at].operator.close(watermark, &mut out)?;
            for delta in out {
                self.carry(at, delta, outlet).await?;
            }
            match closing {
                // Nobody asks how far the last one is, and this is done for each piece of a write.
                Closing::Done if at + 1 == self.steps.len() => return Ok(watermark),
                Closing::Done => return Ok(self.steps[at].frontier(watermark)),
                Closing::More => {}
            }
        }
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
            if at + 1 == self.steps.len() {
                return self.put(delta, outlet).await;
            }
            self.give(at + 1, &delta.batch, delta.weights.as_ref(), outlet).await
        }
        .boxed()
    }

    /// Gives rows to the operator of a step, or out, if there are no operators.
    async fn give(
        &mut self,
        at: usize,
        batch: &RecordBatch,
        weights: Option<&Int64Array>,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some(step) = self.steps.get_mut(at) else {
            let (batch, weights) = (batch.clone(), weights.cloned());
            return self.put(Delta { batch, weights }, outlet).await;
        };
        let takes_back = || weights.is_some_and(|weights| weights.values().iter().any(|w| *w < 0));
        match &mut step.operator {
            Operator::Running(operator, _) => operator.push(batch, weights),
            Operator::Window(..) | Operator::Buffer(_) | Operator::Assign(..) if takes_back() => {
                Err(Error::internal("a row of a window is taken back"))
            }
            Operator::Window(operator, _) => operator.push(batch),
            Operator::Buffer(operator) => operator.push(batch),
            Operator::Assign(windowing, passed) => {
                for expanded in assigned(batch, windowing, *passed)? {
                    self.carry(at, expanded?, outlet).await?;
                }
                Ok(())
            }
        }
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
        input: &Input,
        tables: &dyn Tables,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if let Some(weights) = &input.weights {
            return self.push_weighted(&input.batch, weights, outlet).await;
        }
        let Some(rule) = self.pipeline.lateness else {
            return self.push(None, input.batch.clone(), outlet).await;
        };
        let split = split(input, &rule)?;
        for piece in split.pieces {
            self.push(piece.close_first, piece.rows, outlet).await?;
        }
        match split.late {
            Some(late) => self.take_late(late, tables).await,
            None => Ok(()),
        }
    }

    async fn push(
        &mut self,
        close_first: Option<Watermark>,
        rows: RecordBatch,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if let Some(watermark) = close_first {
            self.close(watermark, outlet).await?;
        }
        match rows.num_rows() {
            0 => Ok(()),
            _ => self.push_rows(vec![rows], outlet).await,
        }
    }

    /// Takes rows through the fragment below into the operator.
    async fn push_rows(&mut self, rows: Vec<RecordBatch>, outlet: &mut dyn Outlet) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        for batch in self.below.run(rows).await? {
            self.check_stop()?;
            self.give(0, &batch, None, outlet).await?;
        }
        Ok(())
    }

    /// Rows of a view's change: those that go are taken out of the aggregates.
    async fn push_weighted(
        &mut self,
        rows: &RecordBatch,
        weights: &Int64Array,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        for sign in [-1_i64, 1] {
            let chosen =
                weights.iter().map(|weight| weight.map(|weight| weight.signum() == sign)).collect();
            let rows = filter_record_batch(rows, &chosen)?;
            let times = weights.values().iter().filter(|weight| weight.signum() == sign).copied();
            // A weight of n is the same row n times.
            let copies: UInt64Array = (0_u64..)
                .zip(times)
                .flat_map(|(row, weight)| std::iter::repeat_n(row, weight.unsigned_abs() as usize))
                .collect();
            let rows = take_record_batch(&rows, &copies)?;
            if rows.num_rows() == 0 {
                continue;
            }
            for batch in self.below.run(vec![rows]).await? {
                let signs = Int64Array::from_value(sign, batch.num_rows());
                self.give(0, &batch, Some(&signs), outlet).await?;
            }
        }
        Ok(())
    }

    /// Only rows that the query would have counted are late for it: those that its filters let
    /// through.
    async fn take_late(&mut self, late: RecordBatch, tables: &dyn Tables) -> Result<()> {
        if self.pipeline.below.is_identity {
            self.keep_late(late);
            return Ok(());
        }
        let numbered = match &mut self.numbered {
            Some(numbered) => numbered,
            none => {
                let plan = FragmentPlan {
                    plan: tables.resolve(&self.pipeline.below.plan)?,
                    ..self.pipeline.below.clone()
                };
                let spec = numbered_plan(&plan)?;
                none.insert(Fragment::new(&spec, spec.plan.clone(), Arc::clone(&self.state)).await?)
            }
        };
        let input = Arc::clone(numbered.spec().input.inner());
        let mut passed = BTreeSet::new();
        for output in numbered.run(vec![with_row_numbers(&late, &input)?]).await? {
            let rows = output.column(output.num_columns() - 1).as_primitive::<Int64Type>();
            passed.extend(rows.values().iter().map(|row| *row as u64));
        }
        if !passed.is_empty() {
            let rows: UInt64Array = passed.into_iter().collect();
            self.keep_late(take_record_batch(&late, &rows)?);
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
        if self.pipeline.below.has_tables {
            self.below.replace(tables.resolve(&self.pipeline.below.plan)?).await?;
            self.numbered = None;
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
        for step in &self.steps {
            let emitted = step.above.as_ref().and_then(|above| above.emitted.as_ref());
            let (bytes, rows) = step.operator.size();
            sum = (sum.0 + bytes + emitted.map_or(0, EmittedRows::size), sum.1 + rows);
        }
        sum
    }

    /// 53200 when the state has become more than there is memory for.
    fn keep_to_the_limit(&self) -> Result<()> {
        Ok(self.memory.try_resize(self.state_size().0)?)
    }

    /// Lines that say what runs, for EXPLAIN.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, step) in self.steps.iter().enumerate().rev() {
            if let Some(above) = &step.above {
                lines.push("above".to_owned());
                lines.extend(above.fragment.explain().lines().map(|line| format!("  {line}")));
            }
            let (operator, input) =
                (&self.pipeline.steps[at].operator, self.pipeline.step_input(at));
            lines.push(super::explain::operator(operator, input, self.pipeline.emission));
        }
        if self.steps.is_empty() {
            lines.push(super::explain::stateless(&self.pipeline));
        }
        if !self.pipeline.below.is_identity {
            lines.push("below".to_owned());
            lines.extend(self.below.explain().lines().map(|line| format!("  {line}")));
        }
        lines.push(super::explain::source(&self.pipeline));
        lines
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
