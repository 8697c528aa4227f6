//! A subquery for one value that reads columns of the query around it: `SELECT (SELECT name FROM d
//! WHERE d.k = s.k) FROM s`.
//!
//! DataFusion makes a join of it, and so wants it to be an aggregate, which has one row for each
//! key. What is none becomes one:
//!
//! | written | planned |
//! |---|---|
//! | `(SELECT x …)` | `single_row((SELECT array_agg(x) …))`, which fails with 21000 where there are several rows |
//! | `(SELECT x … ORDER BY y LIMIT 1)` | `(SELECT first_value(x ORDER BY y) …)` |
//!
//! | `(SELECT a + 1)` | `a + 1` |
//!
//! `single_row` stands outside, behind the join: rows that nobody asks for may be as many as they
//! like. Where DataFusion knows of no such join, in the arguments of aggregates and in ORDER BY,
//! the subquery becomes a column of the input first ([`lifted`]).

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan as plan;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan,
    LogicalPlanBuilder, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    SkipType, Subquery, Volatility,
};

use super::joinable::{Use, is_join};
use crate::error::{Error, SqlState};
use crate::postgres::outer::is_of;

/// The subquery's value for each row around it, which has the columns `around`; `None` if that can
/// be no join.
pub fn of_single_row(subquery: &Subquery, around: &DFSchema) -> Result<Option<Expr>> {
    if let Some(value) = inlined(&subquery.subquery, around)? {
        return Ok(Some(value));
    }
    if !is_of(subquery, around) {
        return Ok(None);
    }
    let with = |plan: Arc<LogicalPlan>| Expr::ScalarSubquery(subquery.with_plan(plan));
    if let Some(first) = first_row(&subquery.subquery)? {
        return Ok(is_join(&first, Use::Value)?.then(|| with(Arc::new(first))));
    }
    if is_aggregate(&subquery.subquery) {
        let is_join = is_join(&subquery.subquery, Use::Value)?;
        return Ok(is_join.then(|| with(Arc::clone(&subquery.subquery))));
    }
    let value = column(&subquery.subquery);
    let all = aggregate(subquery.subquery.as_ref().clone(), array_agg_udaf().call(vec![value]))?;
    Ok(if is_join(&all, Use::Value)? {
        Some(ScalarUDF::from(SingleRow::new()).call(vec![with(Arc::new(all))]))
    } else {
        None
    })
}

/// The value of a SELECT without FROM, over the columns around it; one further out stays an outer column.
fn inlined(plan: &LogicalPlan, around: &DFSchema) -> Result<Option<Expr>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let [value] = projection.expr.as_slice() else { return Ok(None) };
    let is_one = matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(empty) if empty.produce_one_row);
    let is_foreign = value.exists(|part| {
        use Expr::{Exists, InSubquery, ScalarSubquery, SetComparison};
        Ok(matches!(part, ScalarSubquery(_) | InSubquery(_) | Exists(_) | SetComparison(_)))
    })?;
    if !is_one || is_foreign {
        return Ok(None);
    }
    let value = value.clone().transform_up(|part| {
        Ok(match part {
            Expr::OuterReferenceColumn(_, column) if around.has_column(&column) => {
                Transformed::yes(Expr::Column(column))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(Some(value.data.unalias()))
}

/// An aggregate or sort with its subqueries as columns of its input; `None` if it has none that
/// read columns around them.
pub fn lifted(node: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let [input] = node.inputs()[..] else { return Ok(None) };
    if !matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_)) {
        return Ok(None);
    }
    let mut found: Vec<Expr> = Vec::new();
    let names = NamePreserver::new(node);
    let changed = node.clone().map_expressions(|expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|part| {
            if !matches!(&part, Expr::ScalarSubquery(inner) if !inner.outer_ref_columns.is_empty())
            {
                return Ok(Transformed::no(part));
            }
            let at = found.iter().position(|known| *known == part).unwrap_or_else(|| {
                found.push(part);
                found.len() - 1
            });
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(lifted_name(at)))))
        })?;
        Ok(if replaced.transformed {
            replaced.update_data(|expr| name.restore(expr))
        } else {
            replaced
        })
    })?;
    if found.is_empty() {
        return Ok(None);
    }
    let own: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let subqueries =
        found.into_iter().enumerate().map(|(at, subquery)| subquery.alias(lifted_name(at)));
    let columns = own.iter().cloned().chain(subqueries).collect();
    let input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.clone()))?);
    let exprs = changed.data.expressions();
    Ok(Some(match changed.data {
        LogicalPlan::Sort(sort) => {
            let sort = LogicalPlan::Sort(plan::Sort { input: Arc::new(input), ..sort });
            LogicalPlan::Projection(Projection::try_new(own, Arc::new(sort))?)
        }
        other => other.with_new_exprs(exprs, vec![input])?,
    }))
}

fn lifted_name(at: usize) -> String {
    format!("__subquery_{at}")
}

/// Whether it has one row because it is an aggregate without GROUP BY.
fn is_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_aggregate(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_aggregate(&alias.input),
        LogicalPlan::Filter(having) => {
            matches!(having.input.as_ref(), LogicalPlan::Aggregate(inner) if inner.group_expr.is_empty())
        }
        LogicalPlan::Aggregate(inner) => inner.group_expr.is_empty(),
        _ => false,
    }
}

/// `SELECT x … [ORDER BY …] LIMIT 1` as an aggregate.
fn first_row(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Limit(limit) = plan else { return Ok(None) };
    if !is_one(limit)? {
        return Ok(None);
    }
    let (value, order, input): (Expr, Vec<Sort>, &LogicalPlan) = match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => (column(&sort.input), sort.expr.clone(), &sort.input),
        LogicalPlan::Projection(projection) => {
            match (projection.input.as_ref(), projection.expr.as_slice()) {
                (LogicalPlan::Sort(sort), [value]) => {
                    (value.clone().unalias(), sort.expr.clone(), sort.input.as_ref())
                }
                _ => (column(&limit.input), Vec::new(), &limit.input),
            }
        }
        _ => (column(&limit.input), Vec::new(), &limit.input),
    };
    let first = first_value_udaf().call(vec![value]);
    let first = if order.is_empty() { first } else { first.order_by(order).build()? };
    aggregate(input.clone(), first).map(Some)
}

fn is_one(limit: &Limit) -> Result<bool> {
    Ok(matches!(limit.get_skip_type()?, SkipType::Literal(0))
        && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1))))
}

/// The only column of a plan.
fn column(plan: &LogicalPlan) -> Expr {
    Expr::Column(plan.schema().columns().swap_remove(0))
}

fn aggregate(input: LogicalPlan, of: Expr) -> Result<LogicalPlan> {
    let aggregate =
        LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), Vec::new(), vec![of])?);
    LogicalPlanBuilder::from(aggregate).build()
}

/// `single_row(array)`: its element, NULL of an empty one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl SingleRow {
    fn new() -> SingleRow {
        SingleRow { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [DataType::List(item)] => item.data_type().clone(),
            _ => DataType::Null,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[0].to_array(args.number_rows)?;
        let lists = rows.as_list::<i32>();
        let mut indices = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let length = if lists.is_null(row) { 0 } else { lists.value_length(row) };
            indices.push(match length {
                0 => None,
                1 => u64::try_from(lists.value_offsets()[row]).ok(),
                _ => {
                    let message = "more than one row returned by a subquery used as an expression";
                    return Err(Error::new(SqlState::CardinalityViolation, message).into());
                }
            });
        }
        Ok(ColumnarValue::Array(take(lists.values(), &UInt64Array::from(indices), None)?))
    }
}
