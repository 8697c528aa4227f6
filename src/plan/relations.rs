//! Relations as DataFusion sees them: one provider for streams, tables and views, and the schemas
//! that hold them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemTable, SchemaProvider, Session, TableProvider};
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::context::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::sql::sqlparser::ast::Query;
use futures::StreamExt;

use crate::catalog::{self, Kind, Relation};
use crate::error::Result;
use crate::limits;
use crate::log::table::versions_schema;
use crate::postgres::routines::{Routines, body};
use crate::postgres::subplan;

/// Batches of a relation as of one moment; made by whoever knows where the rows are.
pub trait Contents: Send + Sync + fmt::Debug {
    /// An iterator that may block on the disk; batches have all columns of `projection` in its
    /// order.
    fn batches(&self, projection: Option<&[usize]>) -> Result<BatchIter>;

    /// How many rows there are, where that is known without reading them; see [`weighed`].
    fn weight(&self) -> Option<usize> {
        None
    }
}

/// About how many rows a system table has: a guess.
const SYSTEM_TABLE_SIZE: usize = 1_000;

/// Batches, one at a time.
pub type BatchIter = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A stream, table or materialized view in a query.
#[derive(Debug)]
pub struct RelationTable {
    relation: Arc<Relation>,
    schema: SchemaRef,
    contents: Arc<dyn Contents>,
    /// The versions of a table's rows.
    has_versions: bool,
}

impl RelationTable {
    /// The relation with these contents.
    pub fn new(relation: Arc<Relation>, contents: Arc<dyn Contents>) -> Self {
        RelationTable { schema: relation.schema(), relation, contents, has_versions: false }
    }

    /// A table's rows and those that are no more, with the times from which and up to which each is
    /// there.
    pub fn versions(relation: Arc<Relation>, contents: Arc<dyn Contents>) -> Self {
        let schema = versions_schema(&relation.schema());
        RelationTable { schema, relation, contents, has_versions: true }
    }

    /// The relation.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }
}

/// So many rows of so many bytes together, where a row counts once for each
/// [`limits::LIGHT_ROW_BYTES`] of it.
pub fn weighed(rows: usize, bytes: usize) -> usize {
    rows.max(bytes / limits::LIGHT_ROW_BYTES)
}

/// How many rows a scan gives, where that is known without reading them; see [`weighed`].
pub fn weight_of(scan: &datafusion::logical_expr::TableScan) -> Option<usize> {
    let provider = datafusion::datasource::source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    match any.downcast_ref::<RelationTable>() {
        Some(table) => table.contents.weight(),
        // A system table, made for this statement.
        None => any.is::<MemTable>().then_some(SYSTEM_TABLE_SIZE),
    }
}

/// The relation that a scan in a logical plan reads, if it is one of ours.
pub fn scanned(scan: &datafusion::logical_expr::TableScan) -> Option<Arc<Relation>> {
    let provider = datafusion::datasource::source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    any.downcast_ref::<RelationTable>().map(|table| Arc::clone(&table.relation))
}

/// Whether a scan is of the versions of a table's rows.
pub fn has_versions(scan: &datafusion::logical_expr::TableScan) -> bool {
    let Ok(provider) = datafusion::datasource::source_as_provider(&scan.source) else {
        return false;
    };
    let any: &dyn std::any::Any = provider.as_ref();
    any.downcast_ref::<RelationTable>().is_some_and(|table| table.has_versions)
}

/// What plans read of ours, each once.
pub(super) fn read_by<'a>(
    plans: impl IntoIterator<Item = &'a LogicalPlan>,
) -> Result<Vec<Arc<Relation>>> {
    fn find(plan: &LogicalPlan, found: &mut Vec<Arc<Relation>>) -> DfResult<()> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(relation) = scanned(scan)
                && !found.iter().any(|known| known.id == relation.id)
            {
                found.push(relation);
            }
            subplan::visit(node, &mut |inner| find(inner, found))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
    let mut found = Vec::new();
    for plan in plans {
        find(plan, &mut found)?;
    }
    Ok(found)
}

/// The static tables among them.
pub(super) fn tables_of<'a>(
    plans: impl IntoIterator<Item = &'a LogicalPlan>,
) -> Result<Vec<Arc<Relation>>> {
    let mut tables = read_by(plans)?;
    tables.retain(|relation| matches!(relation.kind, Kind::Table(_)));
    Ok(tables)
}

#[async_trait]
impl TableProvider for RelationTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        match self.relation.kind {
            Kind::View { .. } => TableType::View,
            _ => TableType::Base,
        }
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let partition: Arc<dyn PartitionStream> = Arc::new(ContentsPartition {
            schema: Arc::clone(&schema),
            projection: projection.cloned(),
            contents: Arc::clone(&self.contents),
        });
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![partition],
            None,
            None,
            false,
            limit,
        )?))
    }
}

/// Reads [`Contents`] a batch at a time, off the tokio reactor's worker where a batch may have to
/// wait for the disk.
#[derive(Debug)]
struct ContentsPartition {
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    contents: Arc<dyn Contents>,
}

impl PartitionStream for ContentsPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let stream = match self.contents.batches(self.projection.as_deref()) {
            Ok(batches) => {
                futures::stream::iter(batches.map(|b| b.map_err(DataFusionError::from))).boxed()
            }
            Err(error) => futures::stream::iter([Err(error.into())]).boxed(),
        };
        // Each batch is a chance for the other tasks of the worker: a scan of memory never waits by
        // itself.
        let stream = stream.then(|batch| async {
            tokio::task::yield_now().await;
            batch
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}

/// A CREATE VIEW: its plan is put in place of its name.
#[derive(Debug)]
pub struct ViewTable {
    relation: Arc<Relation>,
    plan: LogicalPlan,
}

impl ViewTable {
    /// The view with its planned query.
    pub fn new(relation: Arc<Relation>, plan: LogicalPlan) -> Self {
        ViewTable { relation, plan }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&'_ self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        Some(std::borrow::Cow::Borrowed(&self.plan))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let what = format!("view {} was not put in place", self.relation.name);
        Err(crate::error::Error::internal(what).into())
    }
}

/// Finds the provider of a name when a statement is planned.
#[async_trait]
pub trait RelationLookup: Send + Sync + fmt::Debug {
    /// The provider of `schema.name`; None if there is none.
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>>;
    /// The names in a schema.
    fn names(&self, schema: &str) -> Vec<String>;
    /// The schemas.
    fn schemas(&self) -> Vec<String>;
    /// The user's functions; None: there are none.
    fn routines(&self) -> Option<Routines> {
        None
    }
    /// The time zone of the session that asks; None: UTC.
    fn zone(&self) -> Option<String> {
        None
    }
    /// Before a query over these names is planned: brings what it says of the system into a form
    /// that can be planned, and adds the functions that it calls for it.
    fn prepare(&self, _: &mut SessionState, _: &mut Query) -> Result<()> {
        Ok(())
    }
}

/// No relations at all, only the user's functions.
#[derive(Debug, Default)]
pub struct NoRelations(Option<Routines>);

impl NoRelations {
    /// The functions among these names.
    pub fn with_routines_of(names: Arc<catalog::Names>) -> NoRelations {
        NoRelations(Routines::new(names, Arc::default(), body::plan).some())
    }
}

#[async_trait]
impl RelationLookup for NoRelations {
    async fn find(&self, _: &str, _: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(None)
    }

    fn routines(&self) -> Option<Routines> {
        self.0.clone()
    }

    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn schemas(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The one database, over a [`RelationLookup`].
#[derive(Debug)]
pub struct Database(pub Arc<dyn RelationLookup>);

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        self.0.schemas()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.0.schemas().iter().any(|known| known == name).then(|| {
            Arc::new(DatabaseSchema { lookup: Arc::clone(&self.0), name: name.to_owned() }) as _
        })
    }
}

#[derive(Debug)]
struct DatabaseSchema {
    lookup: Arc<dyn RelationLookup>,
    name: String,
}

#[async_trait]
impl SchemaProvider for DatabaseSchema {
    fn table_names(&self) -> Vec<String> {
        self.lookup.names(&self.name)
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.lookup.find(&self.name, name).await?)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.lookup.names(&self.name).iter().any(|known| known == name)
    }
}

/// The plan with the relation's column names.
pub fn renamed(plan: LogicalPlan, columns: &[catalog::Column]) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let same =
        schema.fields().iter().zip(columns).all(|(field, column)| *field.name() == column.name);
    if same || schema.fields().len() != columns.len() {
        return Ok(plan);
    }
    let exprs = schema
        .iter()
        .zip(columns)
        .map(|(pair, column)| Expr::Column(Column::from(pair)).alias(&column.name))
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
