//! Runs one pipeline: an epoch's input goes in, the epoch's change of the answer comes out.
//!
//! A runner is all there is of a continuous query between epochs: its fragments, its operator's
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
use super::codec::{EMITTED, OPERATOR, StateTables};
use super::map::{Fragment, Tables};
use super::operator::{Operator, assigned};
use super::position::time_unit;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::MemoryPart;
use crate::operators::Closing;
use crate::operators::emitted::EmittedRows;
use crate::operators::lateness::{Input, finite_watermark, split};
use crate::plan::{FragmentPlan, Pipeline};
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
    above: Option<Above>,
    operator: Operator,
    state: Arc<SessionState>,
    tables_version: u64,
    watermark: Watermark,
    finite_watermark: Watermark,
    /// Of the watermarks.
    time_unit: Option<TimeUnit>,
    /// What has been counted.
    pub counters: Counters,
    /// What its operator, which counts from its own beginning, has not counted of the rejected
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
        let operator = Operator::at(&pipeline, watermark)?;
        let above = match &pipeline.above {
            Some(spec) if !spec.is_identity => {
                Some(Above::new(&pipeline, spec, &state, tables).await?)
            }
            _ => None,
        };
        let memory = reserve(&state, MemoryPart::State.consumer());
        let time_unit = time_unit(&pipeline.source.relation);
        Ok(Runner {
            pipeline,
            below,
            numbered: None,
            above,
            operator,
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
        let operator = self.operator.table().map(|table| (OPERATOR, table));
        let emitted = self.above.as_mut().and_then(|above| above.emitted.as_mut());
        let emitted = emitted.map(|table| (EMITTED, table as &mut dyn StateTable));
        operator.into_iter().chain(emitted).collect()
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
        self.close(self.watermark, outlet).await?;
        if let Some(changes) = self.operator.changes()? {
            self.put(changes, outlet).await?;
        }
        self.counters.rejected_rows = self.rejected_before + self.operator.rejected();
        Ok(())
    }

    /// Closes what this watermark closes, a portion at a time.
    async fn close(&mut self, watermark: Watermark, outlet: &mut dyn Outlet) -> Result<()> {
        loop {
            self.check_stop()?;
            let mut out = Vec::new();
            let closing = self.operator.close(watermark, &mut out)?;
            for delta in out {
                self.put(delta, outlet).await?;
            }
            match closing {
                Closing::Done => return Ok(()),
                Closing::More => {}
            }
        }
    }

    /// From the operator's output to the query's, and out.
    async fn put(&mut self, delta: Delta, outlet: &mut dyn Outlet) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let delta = self.finish(delta).await?;
        if delta.is_empty() {
            return Ok(());
        }
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
            match &mut self.operator {
                Operator::Nothing => self.put(Delta::insert(batch), outlet).await?,
                Operator::Window(operator, _) => operator.push(&batch)?,
                Operator::Running(operator, _) => operator.push(&batch, None)?,
                Operator::Buffer(operator) => operator.push(&batch)?,
                Operator::Assign(windowing, passed) => {
                    for expanded in assigned(&batch, windowing, *passed)? {
                        self.put(expanded?, outlet).await?;
                    }
                }
            }
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
                match &mut self.operator {
                    Operator::Nothing => self.put(Delta::new(batch, signs), outlet).await?,
                    Operator::Running(operator, _) => operator.push(&batch, Some(&signs))?,
                    Operator::Window(operator, _) if sign > 0 => operator.push(&batch)?,
                    Operator::Buffer(operator) if sign > 0 => operator.push(&batch)?,
                    Operator::Window(..) | Operator::Buffer(_) | Operator::Assign(..) => {
                        return Err(Error::internal("a row of a window is taken back"));
                    }
                }
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

    /// From the operator's output to the query's.
    async fn finish(&mut self, delta: Delta) -> Result<Delta> {
        let delta = self.operator.picked(delta)?;
        let delta = match &mut self.above {
            None => delta,
            Some(above) => above.run(delta).await?,
        };
        Ok(Delta {
            batch: with_schema(&delta.batch, &self.pipeline.schema)?,
            weights: delta.weights,
        })
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
        if let Some(above) = &mut self.above
            && above.fragment.spec().has_tables
        {
            let plan = tables.resolve(&above.fragment.spec().plan)?;
            above.fragment.replace(plan).await?;
        }
        self.tables_version = version;
        Ok(())
    }

    /// Bytes and rows of state.
    pub fn state_size(&self) -> (usize, usize) {
        let emitted = self
            .above
            .as_ref()
            .and_then(|above| above.emitted.as_ref())
            .map_or(0, EmittedRows::size);
        let (bytes, rows) = self.operator.size();
        (bytes + emitted, rows)
    }

    /// 53200 when the state has become more than there is memory for.
    fn keep_to_the_limit(&self) -> Result<()> {
        Ok(self.memory.try_resize(self.state_size().0)?)
    }

    /// Lines that say what runs, for EXPLAIN.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(above) = &self.above {
            lines.push("above".to_owned());
            lines.extend(above.fragment.explain().lines().map(|line| format!("  {line}")));
        }
        lines.push(super::explain::operator(&self.pipeline));
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
