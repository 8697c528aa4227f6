//! Queries that a writing statement needs: planned over the transaction's own view of things, run
//! to the end, in an order that does not depend on threads.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, Query, SelectItem, SetExpr, TableFactor,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::transaction::{WriteContext, no_memory};
use super::moment::freeze;
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::exec::snapshot::Scope;
use crate::limits;
use crate::memory::MemoryPart;
use crate::plan::relations::RelationLookup;
use crate::postgres::budget::Allowance;
use crate::postgres::routines::Routines;
use crate::sql;

/// Rows that are not a relation, under a name that no relation can have, since it is longer than a
/// name may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Extra(HashMap<String, Arc<dyn TableProvider>>);

impl Extra {
    /// Adds rows and returns the name that stands for them in a query.
    pub(super) fn add(
        &mut self,
        what: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<ObjectName> {
        let name = format!("{what:-<width$}", width = limits::NAME_BYTES + 1);
        let table = MemTable::try_new(schema, vec![batches])?;
        self.0.insert(name.clone(), Arc::new(table));
        Ok(ObjectName::from(vec![Ident::with_quote('"', name)]))
    }
}

#[derive(Debug)]
struct WithExtra {
    extra: Extra,
    scope: Arc<dyn RelationLookup>,
}

#[async_trait]
impl RelationLookup for WithExtra {
    async fn find(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.extra.0.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.scope.find(schema, name).await,
        }
    }

    fn names(&self, schema: &str) -> Vec<String> {
        self.scope.names(schema)
    }

    fn schemas(&self) -> Vec<String> {
        self.scope.schemas()
    }

    fn zone(&self) -> Option<String> {
        self.scope.zone()
    }

    fn routines(&self) -> Option<Routines> {
        self.scope.routines()
    }
}

/// DataFusion's state for a query of this statement. One partition: the order of the rows is then
/// the query's.
fn state_over(engine: &Engine, scope: &Scope, extra: Extra) -> SessionState {
    let lookup = WithExtra { extra, scope: Arc::new(scope.clone()) };
    let mut state = engine.planner.snapshot_state(Arc::new(lookup));
    state.config_mut().options_mut().execution.target_partitions = 1;
    state
}

/// Plans a query.
pub(super) async fn plan(
    cx: &WriteContext,
    extra: Extra,
    query: Query,
) -> Result<(SessionState, LogicalPlan)> {
    under(cx, Allowance::new(CancellationToken::new()), extra, query).await
}

/// Plans a query; what is done with it ends with the allowance.
async fn under(
    cx: &WriteContext,
    allowance: Allowance,
    extra: Extra,
    mut query: Query,
) -> Result<(SessionState, LogicalPlan)> {
    freeze(&mut query, cx)?;
    let mut extra = extra;
    extra.0.extend(cx.given.iter().map(|(name, rows)| (name.clone(), Arc::clone(rows))));
    let (engine, scope) = (Arc::clone(&cx.engine), cx.scope.clone());
    let planned = async move {
        let mut state = state_over(&engine, &scope, extra);
        scope.prepare(&mut state, &mut query)?;
        let plan = engine.planner.logical(&state, &query).await?;
        Ok((state, plan))
    };
    cx.engine.planning.plan(allowance, planned).await
}

/// Plans a query and runs it.
pub(super) async fn run(
    cx: &WriteContext,
    extra: Extra,
    query: Query,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let token = CancellationToken::new();
    let _wanted = token.clone().drop_guard();
    let allowance = Allowance::new(token);
    let (state, plan) = under(cx, allowance.clone(), extra, query).await?;
    // The optimizer may lose what a field says of its SQL type.
    let schema = Arc::clone(plan.schema().inner());
    let planned = async move {
        Allowance::current().weigh(&plan).await?;
        Ok((state.create_physical_plan(&plan).await?, state))
    };
    let (physical, state) = cx.engine.planning.plan(allowance, planned).await?;
    let memory = cx.engine.planner.accounts().reserve(MemoryPart::Writes);
    let task = cx.engine.cpu().spawn(async move {
        let mut stream = datafusion::physical_plan::execute_stream(physical, state.task_ctx())?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            memory
                .try_grow(batch.get_array_memory_size())
                .map_err(|_| no_memory("the statement"))?;
            if memory.size() > limits::WRITE_BYTES {
                return Err(too_large());
            }
            batches.push(batch);
        }
        Ok(batches)
    });
    // A statement that is cancelled stops its query.
    match AbortOnDropHandle::new(task).await {
        Ok(batches) => Ok((schema, batches?)),
        Err(_) => Err(Error::internal("internal error in the query of a statement that writes")),
    }
}

/// What a query has found, as its plan says of the types: what the batches say may differ in
/// nullability.
pub(super) fn as_planned(
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let real = batches.first().filter(|batch| batch.num_columns() == schema.fields().len());
    let Some(real) = real else { return Ok((Arc::clone(schema), batches.to_vec())) };
    let fields = schema.fields().iter().zip(real.schema_ref().fields()).map(|(planned, real)| {
        let planned = planned.as_ref().clone();
        planned.with_data_type(real.data_type().clone()).with_nullable(true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = batches
        .iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
    let batches = batches.collect::<Result<_, _>>()?;
    Ok((schema, batches))
}

/// 54000: more than one statement may write.
pub(super) fn too_large() -> Error {
    Error::new(
        SqlState::ProgramLimit,
        format!("the statement writes more than {} bytes", limits::WRITE_BYTES),
    )
    .hint("Write in several smaller statements.")
}

/// `SELECT items FROM from WHERE selection`.
pub(super) fn select(
    items: Vec<SelectItem>,
    from: Vec<ast::TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Query> {
    let mut query = *sql::parse_query("SELECT 1")?.query;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("SELECT 1 is no select"));
    };
    select.projection = items;
    select.from = from;
    select.selection = selection;
    Ok(query)
}

/// `name AS alias` in FROM.
pub(super) fn named(name: ObjectName, alias: &str) -> Result<ast::TableWithJoins> {
    let query = *sql::parse_query("SELECT 1 FROM x AS y")?.query;
    let SetExpr::Select(select) = *query.body else {
        return Err(Error::internal("SELECT is no select"));
    };
    let mut from = select.from.into_iter().next().ok_or_else(|| Error::internal("FROM is lost"))?;
    if let TableFactor::Table { name: n, alias: Some(a), .. } = &mut from.relation {
        *n = name;
        a.name = Ident::with_quote('"', alias);
    }
    Ok(from)
}

/// An expression under a name.
pub(super) fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

/// A column of a relation in FROM.
pub(super) fn column(relation: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', relation), Ident::with_quote('"', name)])
}
