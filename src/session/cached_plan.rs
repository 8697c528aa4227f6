//! The plan of a prepared SELECT, kept between Parse and each Execute.
//!
//! It is planned once with `CAST($n AS type)` in place of each parameter, so every type in it is
//! known. To run it, the values take the parameters' places, and each relation that it reads is put
//! in as of the moment; then it is optimized like any other. It holds for the names and settings
//! that it was planned with.
//!
//! Not every plan may be kept: one that reads what the system shows of itself was made for that
//! moment, and the type of `round(x, $1)` depends on the value. These are planned anew each time,
//! as a statement that is not prepared is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use tokio_util::sync::CancellationToken;

use super::params;
use super::read::query::{Planned, ReadContext, execute, named};
use super::read::rows::Batches;
use crate::catalog::{Names, RelationId};
use crate::error::Result;
use crate::exec::snapshot::Scope;
use crate::plan::relations::{has_versions, scanned};
use crate::postgres::budget::Allowance;
use crate::postgres::subplan::has_applied;
use crate::sql;
use crate::types::SqlType;

/// Functions that take a parameter and whose type does not depend on its value.
const PLAIN_FUNCTIONS: [&str; 5] = ["checked_add", "checked_sub", "compare_any", "lower", "upper"];

/// A plan to be run with other values each time.
pub(super) struct CachedPlan {
    plan: LogicalPlan,
    /// Its columns as the client sees them.
    pub schema: SchemaRef,
    /// The relations that the query names.
    wanted: Vec<ObjectName>,
    /// A value decides how many rows are wanted.
    has_limit: bool,
    names: Arc<Names>,
    settings: u64,
}

/// Plans a query whose parameters have these types; gives its columns, and the plan if it may be
/// kept. `settings`: their version.
pub(super) async fn plan(
    reads: &ReadContext,
    query: &Query,
    types: &[SqlType],
    settings: u64,
) -> Result<(SchemaRef, Option<CachedPlan>)> {
    let names = reads.engine.catalog.names();
    let mut typed = query.clone();
    params::bind(&mut typed, &casts(types)?);
    let Planned { plan, schema, .. } = reads.plan(&typed).await?;
    let Some(has_limit) = check(&plan)? else {
        return Ok((schema, None));
    };
    let (wanted, shown) = (named(query), Arc::clone(&schema));
    Ok((shown, Some(CachedPlan { plan, schema, wanted, has_limit, names, settings })))
}

/// `CAST($n AS type)` for each parameter.
fn casts(types: &[SqlType]) -> Result<Vec<Option<ast::Expr>>> {
    let cast = |(at, known): (usize, &SqlType)| {
        sql::parse_expr(&format!("CAST(${} AS {})", at + 1, known.in_cast())).map(Some)
    };
    types.iter().enumerate().map(cast).collect()
}

/// Whether a plan may be kept, and if so whether a parameter says how many rows are wanted.
fn check(plan: &LogicalPlan) -> Result<Option<bool>> {
    if has_applied(plan)? {
        return Ok(None);
    }
    let (mut is_plain, mut has_limit) = (true, false);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => is_plain &= scanned(scan).is_some(),
            LogicalPlan::Limit(limit) => {
                has_limit |= limit.fetch.iter().chain(&limit.skip).any(|expr| has_parameter(expr));
            }
            _ => {}
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                is_plain &= !is_opaque(part) || !has_parameter(part);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(is_plain.then_some(has_limit))
}

/// Calls whose types may depend on the values that they are given.
fn is_opaque(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => !PLAIN_FUNCTIONS.contains(&call.func.name()),
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => true,
        _ => false,
    }
}

fn has_parameter(expr: &Expr) -> bool {
    // Looking never fails.
    expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).unwrap_or(true)
}

impl CachedPlan {
    /// Whether it means now what it meant when it was planned.
    pub fn is_current(&self, names: &Arc<Names>, settings: u64) -> bool {
        Arc::ptr_eq(&self.names, names) && self.settings == settings
    }

    /// Whether these values can be put in. A LIMIT below zero is refused where the query is planned
    /// anew.
    pub fn takes(&self, values: &[ArrayRef]) -> bool {
        let is_negative = |value: &ArrayRef| match value.data_type() {
            DataType::Int64 => value.is_null(0) || value.as_primitive::<Int64Type>().value(0) < 0,
            _ => false,
        };
        !self.has_limit || !values.iter().any(is_negative)
    }

    /// The plan with these values, over what there is at this moment; None: the names have changed
    /// meanwhile.
    fn at(&self, scope: &Scope, values: &[ArrayRef]) -> Result<Option<LogicalPlan>> {
        if !Arc::ptr_eq(&self.names, scope.all_names()) {
            return Ok(None);
        }
        let mut tables: HashMap<(RelationId, bool), _> = HashMap::new();
        let plan = self.plan.clone().transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(mut scan) => {
                if let Some(relation) = scanned(&scan) {
                    let is_as_it_was = has_versions(&scan);
                    let table = match tables.get(&(relation.id, is_as_it_was)) {
                        Some(table) => Arc::clone(table),
                        None if is_as_it_was => provider_as_source(scope.versions(&relation)?),
                        None => provider_as_source(scope.contents(&relation)?),
                    };
                    tables.insert((relation.id, is_as_it_was), Arc::clone(&table));
                    scan.source = table;
                }
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            node => Ok(Transformed::no(node)),
        })?;
        if values.is_empty() {
            return Ok(Some(plan.data));
        }
        let values = values.iter().map(|value| ScalarValue::try_from_array(value, 0));
        let values = ParamValues::from(values.collect::<Result<Vec<_>, _>>()?);
        Ok(Some(plan.data.replace_params_with_values(&values)?))
    }
}

impl ReadContext {
    /// Starts a query that has been planned before; None: the names have changed meanwhile.
    pub(super) async fn run_cached(
        &self,
        cached: &Arc<CachedPlan>,
        values: Vec<ArrayRef>,
    ) -> Result<Option<(SchemaRef, Batches)>> {
        let scope = self.scope(&cached.wanted).await?;
        let (engine, kept) = (Arc::clone(&self.engine), Arc::clone(cached));
        let token = CancellationToken::new();
        let wanted = token.clone().drop_guard();
        let runnable = async move {
            let Some(plan) = kept.at(&scope, &values)? else { return Ok(None) };
            let state = engine.planner.snapshot_state(Arc::new(scope));
            let schema = Arc::clone(&kept.schema);
            Planned { plan, state, schema, used: Vec::new(), wanted }.runnable().await.map(Some)
        };
        let runnable = self.engine.planning.plan(Allowance::new(token), runnable).await?;
        Ok(runnable.map(|runnable| (Arc::clone(&cached.schema), execute(&self.engine, runnable))))
    }
}
