//! A stateless stretch of a pipeline as a DataFusion plan that is run again and again on new input.
//!
//! The plan's leaf reads a slot. Running a fragment puts batches into the slot and executes the
//! same physical plan once more, which costs microseconds; nothing is planned per epoch. The hash
//! table of a join with a static table is built at the first run and kept (DataFusion keeps the
//! build side of a `HashJoinExec` across executions), so the fragment is planned anew when a table
//! it reads has changed; else only now and then, because of the metrics that each run leaves in a
//! physical plan.

use std::any::Any;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::streaming::StreamingTableExec;
use futures::TryStreamExt;

use crate::catalog::Relation;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::table::TableVersion;
use crate::plan::placeholder::{Slot, slots};
use crate::plan::{FragmentPlan, Pipeline};

/// What a pipeline is given from outside at the beginning of an epoch: the static tables as they
/// were at one moment, and the time.
pub trait Tables: Send + Sync {
    /// The plan with its table scans replaced; all calls see the same moment.
    fn resolve(&self, plan: &LogicalPlan) -> Result<LogicalPlan>;
    /// The version of what [`Self::resolve`] puts in: another one whenever a table that the
    /// pipeline joins has changed since. 42P01 when one has been dropped.
    fn version(&self, pipeline: &Pipeline) -> Result<u64>;
    /// The table's contents at that moment. 42P01 when it has been dropped.
    fn table(&self, relation: &Relation) -> Result<Arc<TableVersion>>;
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// A fragment that can be run.
pub struct Fragment {
    spec: FragmentPlan,
    /// The logical plan with the present versions of its tables.
    logical: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    slot: Arc<Slot>,
    state: Arc<SessionState>,
    runs: usize,
}

impl Fragment {
    /// Plans the fragment; `logical` is `spec.plan` with the present versions of its tables.
    pub async fn new(
        spec: &FragmentPlan,
        logical: LogicalPlan,
        state: Arc<SessionState>,
    ) -> Result<Fragment> {
        let slot = slot_of(&logical)?;
        let physical = physical(&logical, &state).await?;
        Ok(Fragment { spec: spec.clone(), logical, physical, slot, state, runs: 0 })
    }

    /// The columns it yields.
    pub fn schema(&self) -> SchemaRef {
        self.physical.schema()
    }

    /// The plan it was made from.
    pub fn spec(&self) -> &FragmentPlan {
        &self.spec
    }

    /// Puts in another version of the static tables.
    pub async fn replace(&mut self, logical: LogicalPlan) -> Result<()> {
        self.physical = physical(&logical, &self.state).await?;
        self.slot = slot_of(&logical)?;
        self.logical = logical;
        self.runs = 0;
        Ok(())
    }

    /// Runs it over these batches to the end.
    pub async fn run(&mut self, input: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        if self.spec.is_identity {
            return Ok(input);
        }
        self.runs += 1;
        let most =
            if self.spec.has_tables { limits::RUNS_PER_TABLE_PLAN } else { limits::RUNS_PER_PLAN };
        if self.runs > most {
            self.physical = physical(&self.logical, &self.state).await?;
            self.runs = 0;
        }
        self.slot.fill(input);
        let stream = self.physical.execute(0, self.state.task_ctx())?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }

    /// Lines of the physical plan, for EXPLAIN.
    pub fn explain(&self) -> String {
        datafusion::physical_plan::displayable(self.physical.as_ref()).indent(false).to_string()
    }
}

/// The one slot of a fragment's plan.
fn slot_of(plan: &LogicalPlan) -> Result<Arc<Slot>> {
    slots(plan)?.remove(&0).ok_or_else(|| Error::internal("a fragment without input"))
}

/// Physical planning without another round of logical optimization (which ran before the cut).
async fn physical(logical: &LogicalPlan, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = state.query_planner().create_physical_plan(logical, state).await?;
    check_build_sides(&plan)?;
    Ok(plan)
}

/// The stream must be the probe side of every join: the build side is kept from one run to the
/// next.
fn check_build_sides(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let any: &dyn Any = plan.as_ref();
    let is_join =
        any.is::<HashJoinExec>() || any.is::<NestedLoopJoinExec>() || any.is::<CrossJoinExec>();
    if is_join && plan.children().first().is_some_and(|build| reads_input(build)) {
        return Err(Error::unsupported("this join keeps the stream's rows").hint(
            "Join the stream to a static table with INNER JOIN or LEFT JOIN, the stream on the left.",
        ));
    }
    plan.children().into_iter().try_for_each(check_build_sides)
}

fn reads_input(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let any: &dyn Any = plan.as_ref();
    let here = any
        .downcast_ref::<StreamingTableExec>()
        .is_some_and(|scan| scan.partitions().iter().any(|p| format!("{p:?}").starts_with("Slot")));
    here || plan.children().into_iter().any(reads_input)
}

#[cfg(test)]
mod tests {
    use super::super::table_tests::key_a;
    use super::super::tables::PresentTables;
    use super::super::tests::{open, sorted_rows};
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_plan_that_reads_a_table_is_renewed_after_many_runs_and_gives_the_same_rows() {
        let bench = open(Arc::new(MemoryStore::new())).await;
        bench.stream().await;
        let names = bench.table().await;
        bench.fill(&names, &[("a", "Anna"), ("b", "Bert")]).await;
        let query = "SELECT s.k, n.title FROM s JOIN names n ON n.k = s.k";
        let (pipeline, state) = bench.pipeline(query).await;
        let below = &pipeline.sources[0].below;
        assert!(below.has_tables);
        let logical = PresentTables::new(&bench.engine).resolve(&below.plan).unwrap();
        let mut fragment = Fragment::new(below, logical, state).await.unwrap();
        // Held, so that another one cannot come to lie where it is.
        let first = Arc::clone(&fragment.physical);
        for run in 1..=limits::RUNS_PER_TABLE_PLAN + 1 {
            let rows = fragment.run(vec![key_a(&pipeline)]).await.unwrap();
            assert_eq!(sorted_rows(&rows), ["a Anna"], "run {run}");
            let is_first = Arc::ptr_eq(&first, &fragment.physical);
            assert_eq!(is_first, run <= limits::RUNS_PER_TABLE_PLAN, "run {run}");
        }
    }
}
