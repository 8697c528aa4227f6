//! Subqueries that read columns of the query around them: as joins where that is right, and else
//! run for each row.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, Projection, Subquery, SubqueryAlias};

use super::joinable::{Use, is_join, names_another};
use super::single_row::of_single_row;
use crate::postgres::functions;
use crate::postgres::outer::is_of;
use crate::postgres::subplan::{SubqueryKind, applied};

/// Where in a plan an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// A condition: DataFusion makes joins of EXISTS and IN.
    Filter,
    /// A SELECT list, an aggregate, ORDER BY: it makes joins of subqueries for one value.
    Value,
    /// It knows of no join.
    Other,
}

impl Clause {
    /// Of the expressions of this operator.
    pub fn of(node: &LogicalPlan) -> Clause {
        match node {
            LogicalPlan::Filter(_) => Clause::Filter,
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) => {
                Clause::Value
            }
            _ => Clause::Other,
        }
    }
}

/// Whether DataFusion takes an uncorrelated subquery for a value that cannot be NULL, and it has no row
/// perhaps. An aggregate without GROUP BY has one always.
fn may_lack_its_row(subquery: &Subquery) -> bool {
    let mut plan = subquery.subquery.as_ref();
    while let LogicalPlan::Projection(Projection { input, .. })
    | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) = plan
    {
        plan = input.as_ref();
    }
    let has_one = match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    };
    !has_one && !subquery.subquery.schema().field(0).is_nullable()
}

/// The subquery as it is to be planned, in an operator over the columns `around`.
pub fn correlated(
    expr: Expr,
    around: &DFSchema,
    place: Clause,
    state: &SessionState,
) -> Result<Transformed<Expr>> {
    let apply =
        |subquery, want, x| Ok(Transformed::yes(applied(state, subquery, want, x, around)?));
    match expr {
        Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            let joined = match place {
                Clause::Other => None,
                Clause::Filter | Clause::Value => of_single_row(&subquery, around)?,
            };
            match joined {
                Some(value) => Ok(Transformed::yes(value)),
                None => apply(&subquery, SubqueryKind::Value, None),
            }
        }
        Expr::ScalarSubquery(subquery) if may_lack_its_row(&subquery) => {
            Ok(Transformed::yes(functions::optional(Expr::ScalarSubquery(subquery))))
        }
        Expr::Exists(exists) if !exists.subquery.outer_ref_columns.is_empty() => {
            if place == Clause::Filter
                && is_of(&exists.subquery, around)
                && is_join(&exists.subquery.subquery, Use::Condition)?
            {
                return Ok(Transformed::no(Expr::Exists(exists)));
            }
            let found = apply(&exists.subquery, SubqueryKind::Exists, None)?;
            Ok(found.update_data(
                |found| if exists.negated { Expr::Not(Box::new(found)) } else { found },
            ))
        }
        // The join for NOT IN looks for NULLs by a column of the outer side.
        Expr::InSubquery(list)
            if place != Clause::Filter
                || !list.subquery.outer_ref_columns.is_empty()
                || list.negated && list.expr.column_refs().is_empty() =>
        {
            // What is NOT IN decides about NULLs, which the join over several columns does not.
            let may_join =
                place == Clause::Filter && !list.negated && is_of(&list.subquery, around);
            if may_join
                && !names_another(&list.subquery.subquery)?
                && is_join(&list.subquery.subquery, Use::Condition)?
            {
                return Ok(Transformed::no(Expr::InSubquery(list)));
            }
            let want = if list.negated {
                SubqueryKind::All(Operator::NotEq)
            } else {
                SubqueryKind::Any(Operator::Eq)
            };
            apply(&list.subquery, want, Some(*list.expr))
        }
        Expr::SetComparison(compared)
            if place != Clause::Filter || !compared.subquery.outer_ref_columns.is_empty() =>
        {
            let want = match compared.quantifier {
                SetQuantifier::Any => SubqueryKind::Any(compared.op),
                SetQuantifier::All => SubqueryKind::All(compared.op),
            };
            apply(&compared.subquery, want, Some(*compared.expr))
        }
        other => Ok(Transformed::no(other)),
    }
}
