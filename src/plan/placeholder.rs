//! The leaf of a fragment's plan: it stands for rows that are put into its slot before each run.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::error::Result;
use crate::postgres::subplan;

/// The name of the placeholder in a fragment's plan.
pub const INPUT: &str = "__input";

/// A leaf of a logical plan that stands for the rows to come.
pub fn placeholder(schema: &DFSchemaRef) -> LogicalPlan {
    leaf(schema, INPUT, 0)
}

/// The leaf that stands for the rows of a port, in a plan over several.
pub fn placeholder_of(schema: &DFSchemaRef, port: usize) -> LogicalPlan {
    leaf(schema, &input_name(port), port)
}

/// What the leaf of a port is called.
pub fn input_name(port: usize) -> String {
    format!("{INPUT}_{port}")
}

fn leaf(schema: &DFSchemaRef, name: &str, port: usize) -> LogicalPlan {
    let provider = Placeholder { slot: Slot::new(Arc::clone(schema.inner())), port };
    LogicalPlan::TableScan(TableScan {
        table_name: name.into(),
        source: provider_as_source(Arc::new(provider)),
        projection: None,
        projected_schema: Arc::clone(schema),
        filters: Vec::new(),
        fetch: None,
        statistics_requests: Default::default(),
    })
}

/// The port whose rows a leaf stands for, if it is a placeholder.
pub fn port_of(scan: &TableScan) -> Option<usize> {
    let provider = datafusion::datasource::source_as_provider(&scan.source).ok()?;
    (provider.as_ref() as &dyn Any)
        .downcast_ref::<Placeholder>()
        .map(|placeholder| placeholder.port)
}

/// The slots of the placeholders in a plan, by their ports.
pub fn slots(plan: &LogicalPlan) -> Result<BTreeMap<usize, Arc<Slot>>> {
    fn find(plan: &LogicalPlan, found: &mut BTreeMap<usize, Arc<Slot>>) -> DfResult<()> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = datafusion::datasource::source_as_provider(&scan.source)
                && let Some(placeholder) =
                    (provider.as_ref() as &dyn Any).downcast_ref::<Placeholder>()
            {
                found.insert(placeholder.port, Arc::clone(&placeholder.slot));
            }
            subplan::visit(node, &mut |inner| find(inner, found))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
    let mut found = BTreeMap::new();
    find(plan, &mut found)?;
    Ok(found)
}

/// Where a fragment's leaf finds its batches at each run.
pub struct Slot {
    schema: SchemaRef,
    rows: Mutex<SlotRows>,
}

/// What a slot has for the next run.
enum SlotRows {
    /// To be read once: they are let go as the plan goes through them.
    Once(Vec<RecordBatch>),
    /// To be read as often as the plan wants.
    Kept(Vec<RecordBatch>),
}

impl Slot {
    fn new(schema: SchemaRef) -> Arc<Slot> {
        Arc::new(Slot { schema, rows: Mutex::new(SlotRows::Once(Vec::new())) })
    }

    /// The columns of the rows.
    pub fn columns(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Puts in the rows of the next run, which reads them once.
    pub fn fill(&self, batches: Vec<RecordBatch>) {
        *self.rows.lock() = SlotRows::Once(batches);
    }

    /// Puts in rows that are read several times, until others are put in.
    pub fn keep(&self, batches: Vec<RecordBatch>) {
        *self.rows.lock() = SlotRows::Kept(batches);
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
        let batches = match &mut *self.rows.lock() {
            SlotRows::Once(batches) => std::mem::take(batches),
            SlotRows::Kept(batches) => batches.clone(),
        };
        let stream = futures::stream::iter(batches).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The provider behind [`placeholder`].
#[derive(Debug)]
struct Placeholder {
    slot: Arc<Slot>,
    port: usize,
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
