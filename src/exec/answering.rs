//! A plan over the rows of several ports that is answered as a whole each time it is asked.
//!
//! Unlike the plan of a [`Fragment`](super::map::Fragment) it may have all that a snapshot's may
//! have: sorts, joins of its inputs, window functions, recursion. What its nodes keep from one run
//! to the next (the build side of a join) is made anew before each.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::above::with_schema;
use crate::error::{Error, Result, SqlState};
use crate::memory::MemoryPart;
use crate::memory::rows::batch_bytes;
use crate::plan::placeholder::{Slot, slots};
use crate::postgres::subplan::forget_answers;

/// A plan that can be asked.
pub(super) struct Answering {
    physical: Arc<dyn ExecutionPlan>,
    /// Of each port; None: the plan does not read it.
    slots: Vec<Option<Arc<Slot>>>,
    state: Arc<SessionState>,
    logical: LogicalPlan,
    schema: SchemaRef,
    /// What the last answer takes of `--memory-limit`, until the epoch is over.
    memory: MemoryReservation,
}

impl Answering {
    /// Plans it; its leaves are placeholders for so many ports.
    pub(super) async fn new(
        logical: &LogicalPlan,
        ports: usize,
        state: &Arc<SessionState>,
    ) -> Result<Answering> {
        let mut found = slots(logical)?;
        let slots: Vec<_> = (0..ports).map(|port| found.remove(&port)).collect();
        if !found.is_empty() {
            return Err(Error::internal("a plan over ports that there are not"));
        }
        let physical = state.query_planner().create_physical_plan(logical, state.as_ref()).await?;
        let schema = Arc::clone(logical.schema().inner());
        let (logical, state) = (logical.clone(), Arc::clone(state));
        let memory = MemoryConsumer::new(MemoryPart::Queries.consumer());
        let memory = memory.register(&state.runtime_env().memory_pool);
        Ok(Answering { physical, slots, state, logical, schema, memory })
    }

    /// Asks about these rows, which are those of each port.
    pub(super) fn ask(&self, ports: &[Vec<RecordBatch>]) -> Result<Answers> {
        for (slot, rows) in self.slots.iter().zip(ports) {
            let Some(slot) = slot else { continue };
            let schema = slot.columns();
            let rows = rows.iter().map(|batch| with_schema(batch, &schema));
            slot.keep(rows.collect::<Result<_>>()?);
        }
        forget_answers(&self.logical)?;
        let plan = reset_plan_states(Arc::clone(&self.physical))?;
        let partitions = 0..plan.properties().output_partitioning().partition_count();
        let rows = partitions.map(|at| plan.execute(at, self.state.task_ctx()));
        Ok(Answers { rows: rows.collect::<Result<_, _>>()?, schema: Arc::clone(&self.schema) })
    }

    /// All of an answer. 53200 when that is more than there is memory for (each row is copied once on
    /// its way).
    pub(super) async fn all(
        &self,
        mut answers: Answers,
        stop: &CancellationToken,
    ) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        while let Some(batch) = answers.next(stop).await? {
            self.memory.try_grow(2 * batch_bytes(&batch))?;
            all.push(batch);
        }
        Ok(all)
    }

    /// What was answered has been taken on.
    pub(super) fn taken(&self) {
        self.slots.iter().flatten().for_each(|slot| slot.fill(Vec::new()));
        self.memory.free();
    }

    /// Lines of the physical plan, for EXPLAIN.
    pub(super) fn explain(&self) -> String {
        datafusion::physical_plan::displayable(self.physical.as_ref()).indent(false).to_string()
    }
}

/// An answer as it is computed.
pub(super) struct Answers {
    rows: VecDeque<SendableRecordBatchStream>,
    schema: SchemaRef,
}

impl Answers {
    /// The next rows; None: there are no more. One part after the other, so that rows come in the same
    /// order each time. 57014 when it is told to stop.
    pub(super) async fn next(&mut self, stop: &CancellationToken) -> Result<Option<RecordBatch>> {
        while let Some(part) = self.rows.front_mut() {
            if stop.is_cancelled() {
                return Err(Error::new(SqlState::Cancelled, "the query is to run no more"));
            }
            match part.try_next().await? {
                Some(batch) if batch.num_rows() > 0 => {
                    return with_schema(&batch, &self.schema).map(Some);
                }
                Some(_) => {}
                None => _ = self.rows.pop_front(),
            }
        }
        Ok(None)
    }
}
