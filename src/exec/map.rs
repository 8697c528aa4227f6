//! A stateless stretch of a pipeline as a DataFusion plan that is run again and again on new input.
//!
//! The plan's leaf reads a slot. Running a fragment puts batches into the slot and executes the same physical plan once more, which
//! costs microseconds; nothing is planned per epoch. The hash table of a join with a static table is built at the
//! first run and kept (DataFusion keeps the build side of a `HashJoinExec` across executions), so the fragment is planned anew when
//! a table it reads has changed, and only then.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchemaRef;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::pipeline::FragmentPlan;
use crate::error::{Error, Result};

/// The name of the placeholder in a fragment's plan.
pub const INPUT: &str = "__input";

/// After so many runs a plan is replaced by a fresh one: each run adds to the metrics that a physical plan keeps.
const RUNS_PER_PLAN: usize = 4_096;

/// A leaf of a logical plan that stands for the rows to come.
pub fn placeholder(schema: &DFSchemaRef) -> LogicalPlan {
    let provider = Placeholder { slot: Slot::new(Arc::clone(schema.inner())) };
    LogicalPlan::TableScan(TableScan {
        table_name: INPUT.into(),
        source: provider_as_source(Arc::new(provider)),
        projection: None,
        projected_schema: Arc::clone(schema),
        filters: Vec::new(),
        fetch: None,
        statistics_requests: Default::default(),
    })
}

/// Finds the slot of the placeholder in a plan made with [`placeholder`].
fn find_slot(plan: &LogicalPlan) -> Option<Arc<Slot>> {
    if let LogicalPlan::TableScan(scan) = plan
        && let Ok(provider) = datafusion::datasource::source_as_provider(&scan.source)
        && let Some(placeholder) = (provider.as_ref() as &dyn Any).downcast_ref::<Placeholder>()
    {
        return Some(Arc::clone(&placeholder.slot));
    }
    plan.inputs().into_iter().find_map(find_slot)
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
        let slot = find_slot(&logical).ok_or_else(|| Error::internal("a fragment without input"))?;
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
        self.slot = find_slot(&logical).ok_or_else(|| Error::internal("a fragment without input"))?;
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
        if self.runs > RUNS_PER_PLAN && !self.spec.has_tables {
            self.physical = physical(&self.logical, &self.state).await?;
            self.runs = 0;
        }
        *self.slot.batches.lock() = input;
        let stream = self.physical.execute(0, self.state.task_ctx())?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }

    /// Lines of the physical plan, for EXPLAIN.
    pub fn explain(&self) -> String {
        datafusion::physical_plan::displayable(self.physical.as_ref()).indent(false).to_string()
    }
}

/// Physical planning without another round of logical optimization (which ran before the cut).
async fn physical(logical: &LogicalPlan, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = state.query_planner().create_physical_plan(logical, state).await?;
    check_build_sides(&plan)?;
    Ok(plan)
}

/// The stream must be the probe side of every join: the build side is kept from one run to the next.
fn check_build_sides(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let any: &dyn Any = plan.as_ref();
    let is_join = any.is::<HashJoinExec>() || any.is::<NestedLoopJoinExec>() || any.is::<CrossJoinExec>();
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

/// Where a fragment's leaf finds its batches.
pub struct Slot {
    schema: SchemaRef,
    batches: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    fn new(schema: SchemaRef) -> Arc<Slot> {
        Arc::new(Slot { schema, batches: Mutex::new(Vec::new()) })
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = std::mem::take(&mut *self.batches.lock());
        let stream = futures::stream::iter(batches).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The provider behind [`placeholder`].
#[derive(Debug)]
struct Placeholder {
    slot: Arc<Slot>,
}

#[async_trait]
impl TableProvider for Placeholder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.slot.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let partition: Arc<dyn PartitionStream> = Arc::clone(&self.slot) as _;
        let schema = Arc::clone(&self.slot.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![partition], projection, None, false, None)?))
    }
}
