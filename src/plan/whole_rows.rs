//! Rows as they were read, for operators that forget them: a row that is taken back later is known, or
//! not, by all that it is, and not by what a query looks at.
//!
//! ```text
//!  above:   k, v * 2      ─▶ part of what the operator has answered
//!  below:   filter        ─▶ rows that the operator keeps, whole, with the key behind them
//!  source:  id, k, v
//! ```
//! If two rows of a key are `('a')` to the query and one has been forgotten, it would else not be known
//! which of them goes. Rows that are equal as a whole are as good as one another, and so are those of a
//! part that this does not see through (joins and unions in it, windows, tables that are looked up):
//! there one goes by what comes out. In any case what an operator knows is a part of the rows that are
//! there.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::origin::column_at;
use super::placeholder::INPUT;
use super::stage::{Open, rebuilt};
use crate::error::{Error, Result};

/// A part that gives whole rows.
pub(super) struct WholeRows {
    pub(super) part: Open,
    /// How many of its columns, the first ones, are those that it gave before.
    pub(super) width: usize,
    /// The keys over its columns.
    pub(super) keys: Vec<Expr>,
    /// What stood above, the lowest first.
    pub(super) above: Vec<LogicalPlan>,
}

impl WholeRows {
    /// Those of a part, whose rows belong together by these keys.
    pub(super) fn of(mut part: Open, keys: &[Expr]) -> Result<WholeRows> {
        let (mut keys, mut above) = (keys.to_vec(), Vec::new());
        if part.has_tables || !is_seen_through(&part.plan) {
            let width = part.plan.schema().fields().len();
            return Ok(WholeRows { part, width, keys, above });
        }
        while let LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) = &part.plan {
            let node = part.plan;
            let Some(input) = node.inputs().first().map(|input| (*input).clone()) else {
                return Err(Error::internal("a projection of nothing"));
            };
            keys = keys.into_iter().map(|key| beneath(key, &node)).collect::<Result<_>>()?;
            above.push(node);
            part.plan = input;
        }
        above.reverse();
        let width = part.plan.schema().fields().len();
        part.read_whole_rows()?;
        Ok(WholeRows { part, width, keys, above })
    }
}

/// The plan with these nodes on top, the lowest first.
pub(super) fn put_on(plan: LogicalPlan, above: &[LogicalPlan]) -> Result<LogicalPlan> {
    above.iter().try_fold(plan, |plan, node| rebuilt(node, vec![plan]))
}

/// An expression over a node as one over what is below it.
fn beneath(expr: Expr, node: &LogicalPlan) -> Result<Expr> {
    let put = expr.transform_up(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let Some(at) = node.schema().maybe_index_of_column(column) else {
            return Ok(Transformed::no(part));
        };
        Ok(match node {
            LogicalPlan::Projection(projection) => {
                Transformed::yes(projection.expr[at].clone().unalias())
            }
            LogicalPlan::SubqueryAlias(alias) => Transformed::yes(column_at(&alias.input, at)),
            _ => Transformed::no(part),
        })
    })?;
    Ok(put.data)
}

/// Whether a plan is projections of filtered rows.
fn is_seen_through(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().is_some_and(|input| is_seen_through(input))
        }
        LogicalPlan::Filter(filter) => is_filtered_input(&filter.input),
        other => is_filtered_input(other),
    }
}

fn is_filtered_input(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => is_filtered_input(&filter.input),
        LogicalPlan::TableScan(scan) => scan.table_name.table() == INPUT,
        _ => false,
    }
}
