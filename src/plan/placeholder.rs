//! The leaf of a fragment's plan: it stands for rows that are put into its slot before each run.

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
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use parking_lot::Mutex;

/// The name of the placeholder in a fragment's plan.
pub const INPUT: &str = "__input";

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
pub fn find_slot(plan: &LogicalPlan) -> Option<Arc<Slot>> {
    if let LogicalPlan::TableScan(scan) = plan
        && let Ok(provider) = datafusion::datasource::source_as_provider(&scan.source)
        && let Some(placeholder) = (provider.as_ref() as &dyn Any).downcast_ref::<Placeholder>()
    {
        return Some(Arc::clone(&placeholder.slot));
    }
    plan.inputs().into_iter().find_map(find_slot)
}

/// Where a fragment's leaf finds its batches at each run.
pub struct Slot {
    schema: SchemaRef,
    batches: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    fn new(schema: SchemaRef) -> Arc<Slot> {
        Arc::new(Slot { schema, batches: Mutex::new(Vec::new()) })
    }

    /// Puts in the rows of the next run.
    pub fn fill(&self, batches: Vec<RecordBatch>) {
        *self.batches.lock() = batches;
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
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![partition],
            projection,
            None,
            false,
            None,
        )?))
    }
}
