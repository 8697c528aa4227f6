//! A plan over the rows of several ports that is answered as a whole each time it is asked.
//!
//! Unlike the plan of a [`Fragment`](super::map::Fragment) it may have all that a snapshot's may
//! have: sorts, joins of its inputs, window functions, recursion. What its nodes keep from one run
//! to the next (the build side of a join) is made anew before each.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::TryStreamExt;

use super::above::with_schema;
use crate::error::{Error, Result};
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
        Ok(Answering { physical, slots, state, logical, schema })
    }

    /// What it gives for these rows, which are those of each port.
    pub(super) async fn run(&self, ports: &[Vec<RecordBatch>]) -> Result<Vec<RecordBatch>> {
        for (slot, rows) in self.slots.iter().zip(ports) {
            let Some(slot) = slot else { continue };
            let schema = slot.columns();
            let rows = rows.iter().map(|batch| with_schema(batch, &schema));
            slot.keep(rows.collect::<Result<_>>()?);
        }
        forget_answers(&self.logical)?;
        let plan = reset_plan_states(Arc::clone(&self.physical))?;
        let mut answer: Vec<RecordBatch> = Vec::new();
        // One after the other: rows come in the same order each time.
        for partition in 0..plan.properties().output_partitioning().partition_count() {
            let stream = plan.execute(partition, self.state.task_ctx())?;
            answer.extend(stream.try_collect::<Vec<_>>().await?);
        }
        self.slots.iter().flatten().for_each(|slot| slot.fill(Vec::new()));
        answer.retain(|batch| batch.num_rows() > 0);
        answer.iter().map(|batch| with_schema(batch, &self.schema)).collect()
    }

    /// Lines of the physical plan, for EXPLAIN.
    pub(super) fn explain(&self) -> String {
        datafusion::physical_plan::displayable(self.physical.as_ref()).indent(false).to_string()
    }
}
