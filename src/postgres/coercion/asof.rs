//! `a ASOF JOIN b ON a.k = b.k AND a.t >= b.t`: to each row of a that of b which was the last before it.
//!
//! The rows of both sides stand beside each other in the order of their times, and each row of a takes
//! what stands in the last row of b before it:
//!
//! ```text
//!  UNION ALL ─ a: k, t, false, a.*, NULL       asof(b.*) OVER (PARTITION BY k ORDER BY t, is b)
//!            └ b: k, t, true,  NULL, b.*   ─▶  of the rows of a
//! ```
//! That is a sort, whatever there is to be found, and a query that is kept up to date is asked anew only
//! about the keys whose rows have changed. With `a.t > b.t` rows of a come first among those of one time,
//! with `<=` and `<` the order is from the last to the first. Of several rows of b at one time the greatest is
//! taken, column by column, so that it is always the same.

use std::sync::Arc;

use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder,
    Operator, Projection, Union, lit,
};

use super::order_keys::by_keys;
use crate::error::{Error, SqlState};
use crate::postgres::functions::{asof_condition, last_value_where};
use crate::postgres::outer::beside;

const TIME: &str = "__asof_time";
const IS_LEFT: &str = "__asof_is_left";
const IS_RIGHT: &str = "__asof_is_right";
const IS_FOUND: &str = "__asof_is_found";

/// What an ASOF join is to be; `None` for anything else.
///
/// # Errors
/// 42601 without an inequality or with several, 0A000 for conditions of another kind.
pub fn last_before(node: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Join(join) = node else { return Ok(None) };
    let Some(condition) = join.filter.as_ref().and_then(asof_condition) else { return Ok(None) };
    if beside(&join.right).is_some() {
        let error = Error::unsupported("ASOF JOIN with a LATERAL subquery is not supported")
            .hint("Write LATERAL (SELECT … ORDER BY … LIMIT 1) instead of ASOF JOIN.");
        return Err(error.into());
    }
    let compared = Compared::of(join, condition)?;
    let rows = compared.rows(join)?;
    let right = join.right.schema().fields().len();
    let wanted = (0..right).map(|at| (right_name(at), found_name(at)));
    let wanted = wanted.chain([(IS_RIGHT.to_owned(), IS_FOUND.to_owned())]);
    let by = compared.keys.iter().enumerate().map(|(at, _)| column(&key_name(at)));
    let by: Vec<Expr> = by.collect();
    let order = compared.order(right, rows.schema())?;
    let found = wanted.map(|(of, name)| {
        let last = last_value_where(column(&of), column(IS_RIGHT));
        let last = last.partition_by(by.clone()).order_by(order.clone()).build()?;
        Ok(last.alias(name))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    let mut wanted = !column(IS_RIGHT);
    if join.join_type == JoinType::Inner {
        wanted = wanted.and(column(IS_FOUND).is_not_null());
    }
    let plan = LogicalPlanBuilder::from(rows).window(found)?.filter(wanted)?;
    let name = |at: usize, schema: &DFSchema, hidden: String| {
        let (relation, field) = schema.qualified_field(at);
        column(&hidden).alias_qualified(relation.cloned(), field.name())
    };
    let left = join.left.schema().fields().len();
    let columns = (0..left).map(|at| name(at, join.left.schema(), left_name(at)));
    let columns = columns.chain((0..right).map(|at| name(at, join.right.schema(), found_name(at))));
    plan.project(columns.collect::<Vec<_>>())?.build().map(Some)
}

/// What the condition compares, of the left and the right side.
struct Compared {
    keys: Vec<(Expr, Expr)>,
    times: (Expr, Expr),
    op: Operator,
}

impl Compared {
    fn of(join: &Join, condition: &Expr) -> Result<Compared> {
        let (mut keys, mut inequality) = (Vec::new(), None);
        for part in split_conjunction(condition) {
            let (left, op, right) = sides(join, part).ok_or_else(other)?;
            let sides = of_one_type(join, left, op, right)?;
            match op {
                Operator::Eq => keys.push(sides),
                _ if inequality.is_some() => {
                    let what = "ASOF JOIN has one inequality, and this has several";
                    return Err(Error::new(SqlState::Syntax, what).hint(HINT).into());
                }
                _ => inequality = Some((sides, op)),
            }
        }
        match inequality {
            Some((times, op)) => Ok(Compared { keys, times, op }),
            None => {
                let what = "ASOF JOIN needs an inequality between a column of each side";
                Err(Error::new(SqlState::Syntax, what).hint(HINT).into())
            }
        }
    }

    /// The rows of both sides.
    fn rows(&self, join: &Join) -> Result<LogicalPlan> {
        let parts = [self.part(join, false)?, self.part(join, true)?];
        let parts = parts.into_iter().map(Arc::new).collect();
        let rows = LogicalPlan::Union(Union::try_new_with_loose_types(parts)?);
        // Something is computed here so that all are sorted together: the optimizer sorts what it can below a
        // UNION, takes constants out of the order there, and then finds no order of both.
        let columns = rows.schema().columns().into_iter().map(|own| match own.name() {
            IS_LEFT => (!column(IS_LEFT)).alias(IS_RIGHT),
            _ => Expr::Column(own),
        });
        let columns = columns.collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(rows))?))
    }

    /// The rows of a side, among the columns of both.
    fn part(&self, join: &Join, is_right: bool) -> Result<LogicalPlan> {
        let side = if is_right { &join.right } else { &join.left };
        let mine = |(left, right): &(Expr, Expr)| if is_right { right } else { left }.clone();
        let keys: Vec<Expr> = self.keys.iter().map(mine).collect();
        let time = mine(&self.times);
        let named = keys.iter().enumerate();
        let mut columns: Vec<Expr> =
            named.map(|(at, key)| key.clone().alias(key_name(at))).collect();
        columns.push(time.clone().alias(TIME));
        columns.push(lit(!is_right).alias(IS_LEFT));
        for (of_right, of) in [(false, &join.left), (true, &join.right)] {
            let name = if of_right { right_name } else { left_name };
            for (at, (relation, field)) in of.schema().iter().enumerate() {
                let value = if of_right == is_right {
                    Expr::Column(Column::from((relation, field)))
                } else {
                    let nothing = ScalarValue::try_from(field.data_type())?;
                    let metadata = FieldMetadata::from(field.as_ref());
                    Expr::Literal(nothing, Some(metadata))
                };
                columns.push(value.alias(name(at)));
            }
        }
        let mut builder = LogicalPlanBuilder::from(side.as_ref().clone());
        if is_right {
            // What is NULL is not equal to another NULL, and before nothing.
            let known = keys.into_iter().chain([time]).map(Expr::is_not_null);
            builder = builder.filter(conjunction(known).unwrap_or_else(|| lit(true)))?;
        }
        let input = Arc::new(builder.build()?);
        Ok(LogicalPlan::Projection(Projection::try_new(columns, input)?))
    }

    /// The order in which a row of the left side comes behind those of the right side that it may take, and the
    /// one that it takes last. A time that is NULL comes before all.
    fn order(&self, right: usize, schema: &DFSchema) -> Result<Vec<Sort>> {
        let is_up = matches!(self.op, Operator::Gt | Operator::GtEq);
        let may_be_equal = matches!(self.op, Operator::GtEq | Operator::LtEq);
        let mut order =
            vec![column(TIME).sort(is_up, true), column(IS_RIGHT).sort(!may_be_equal, true)];
        order.extend((0..right).map(|at| column(&right_name(at)).sort(true, false)));
        by_keys(&mut order, schema)?;
        Ok(order)
    }
}

/// Whether all columns are of this side, and some are.
fn is_of(expr: &Expr, side: &LogicalPlan) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| side.schema().has_column(column))
}

/// A comparison of an expression of the left side with one of the right side.
fn sides<'e>(join: &Join, part: &'e Expr) -> Option<(&'e Expr, Operator, &'e Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else { return None };
    let is_known =
        matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq);
    if !is_known {
        None
    } else if is_of(left, &join.left) && is_of(right, &join.right) {
        Some((left, *op, right))
    } else if is_of(right, &join.left) && is_of(left, &join.right) {
        Some((right, op.swap()?, left))
    } else {
        None
    }
}

/// Both sides in the type in which they are compared.
fn of_one_type(join: &Join, left: &Expr, op: Operator, right: &Expr) -> Result<(Expr, Expr)> {
    let schemas = [join.left.schema(), join.right.schema()];
    let types = (left.get_type(schemas[0])?, right.get_type(schemas[1])?);
    let (l, r) = BinaryTypeCoercer::new(&types.0, &op, &types.1).get_input_types()?;
    Ok((left.clone().cast_to(&l, schemas[0])?, right.clone().cast_to(&r, schemas[1])?))
}

const HINT: &str = "Write a ASOF JOIN b ON a.key = b.key AND a.time >= b.time.";

fn other() -> Error {
    Error::unsupported("a condition of this kind in ASOF JOIN is not supported").hint(
        "Each compares a column of one side with one of the other: = any number of times, and once >=, >, <= or <. Put other conditions into a subquery: FROM a ASOF JOIN (SELECT … FROM b WHERE …) b ON ….",
    )
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn key_name(at: usize) -> String {
    format!("__asof_key_{at}")
}

fn left_name(at: usize) -> String {
    format!("__asof_left_{at}")
}

fn right_name(at: usize) -> String {
    format!("__asof_right_{at}")
}

fn found_name(at: usize) -> String {
    format!("__asof_found_{at}")
}
