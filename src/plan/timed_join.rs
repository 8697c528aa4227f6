//! Joins that are not inner, with a condition on the time: `a LEFT JOIN b ON a.k = b.k AND a.until > now()`.
//!
//! Time changes which pairs there are, and with them which rows have none. The pairs are those of the
//! inner join, with the condition in a filter above it ([`super::temporal`]); what the join gives
//! besides follows from them:
//!
//! ```text
//!  a LEFT JOIN b   =   pairs  ∪  a without those of pairs, and NULLs
//!  a SEMI JOIN b   =   a with those of pairs            (EXISTS, IN)
//!  a ANTI JOIN b   =   a without those of pairs         (NOT EXISTS)
//! ```
//! Rows of a that are equal have the same partners, so it is enough to compare all of their columns.
//! (Conditions on the columns of the other side alone have been put on that side by the optimizer.)

use std::sync::Arc;

use datafusion::common::{JoinConstraint, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, Union, col};

use super::origin::column_at;
use super::stage::CutOptions;
use super::temporal;
use crate::catalog::Emission;
use crate::error::{Error, Result};

/// A join with its conditions on the time in a filter above the pairs.
pub(super) fn apart(options: CutOptions, join: Join) -> Result<LogicalPlan> {
    if join.join_type == JoinType::Inner {
        return temporal::above_join(join);
    }
    if options.emission == Emission::OnClose || !temporal::is_timed(&join)? {
        return Ok(LogicalPlan::Join(join));
    }
    let pairs = || -> Result<LogicalPlan> {
        temporal::above_join(Join::try_new(
            Arc::clone(&join.left),
            Arc::clone(&join.right),
            join.on.clone(),
            join.filter.clone(),
            JoinType::Inner,
            join.join_constraint,
            join.null_equality,
            false,
        )?)
    };
    let alone = |kind, side| without_or_with(kind, &join, side, pairs()?);
    let parts = match join.join_type {
        _ if join.null_aware => return Err(unsupported("NOT IN")),
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(unsupported("EXISTS or IN beside OR"));
        }
        JoinType::LeftSemi => return alone(JoinType::LeftSemi, 0),
        JoinType::RightSemi => return alone(JoinType::LeftSemi, 1),
        JoinType::LeftAnti => return alone(JoinType::LeftAnti, 0),
        JoinType::RightAnti => return alone(JoinType::LeftAnti, 1),
        JoinType::Left => vec![0],
        JoinType::Right => vec![1],
        JoinType::Full | JoinType::Inner => vec![0, 1],
    };
    let mut inputs = vec![Arc::new(with_columns_of(&join, pairs()?, 0)?)];
    for side in parts {
        inputs.push(Arc::new(with_columns_of(&join, alone(JoinType::LeftAnti, side)?, side)?));
    }
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::clone(&join.schema) }))
}

/// The rows of a side that are in a pair, or those that are in none.
fn without_or_with(
    kind: JoinType,
    join: &Join,
    side: usize,
    pairs: LogicalPlan,
) -> Result<LogicalPlan> {
    let (rows, first) = match side {
        0 => (&join.left, 0),
        _ => (&join.right, join.left.schema().fields().len()),
    };
    let fields = rows.schema().fields();
    if fields.is_empty() || fields.iter().any(|field| field.data_type().is_nested()) {
        return Err(unsupported("a join whose rows cannot be compared (arrays, rows)"));
    }
    let name = |at: usize| format!("__paired_{at}");
    let known = (0..fields.len()).map(|at| column_at(&pairs, first + at).alias(name(at)));
    let known = Projection::try_new(known.collect(), Arc::new(pairs.clone()))?;
    let on = (0..fields.len()).map(|at| (column_at(rows, at), col(name(at)))).collect();
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::clone(rows),
        Arc::new(LogicalPlan::Projection(known)),
        on,
        None,
        kind,
        JoinConstraint::On,
        NullEquality::NullEqualsNull,
        false,
    )?))
}

/// Rows with all columns of the join, of which they have those of this side or all; the others are
/// NULL.
fn with_columns_of(join: &Join, rows: LogicalPlan, side: usize) -> Result<LogicalPlan> {
    let own = rows.schema().fields().len();
    let first = if side == 0 { 0 } else { join.schema.fields().len() - own };
    let columns = join.schema.iter().enumerate().map(|(at, (qualifier, field))| -> Result<Expr> {
        let value = match at.checked_sub(first).filter(|at| *at < own) {
            Some(at) => column_at(&rows, at),
            None => Expr::Literal(ScalarValue::try_from(field.data_type())?, None),
        };
        Ok(value.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns = columns.collect::<Result<_>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(rows))?))
}

fn unsupported(what: &str) -> Error {
    Error::unsupported(format!(
        "now() in the condition of {what} is not supported in a continuous query"
    ))
    .hint("Have the condition in WHERE, or in a subquery on the rows that it is about.")
}
