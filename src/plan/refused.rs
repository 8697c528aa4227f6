//! What a continuous query may not contain, though a snapshot may: see the README's list.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::moment;
use super::pipeline::{Pipeline, Stateful};
use crate::error::{Error, Result};
use crate::postgres::subplan::{self, is_subplan};

/// A continuous query's answer is a function of the rows: nothing in it may depend on chance.
/// (`now()` is the epoch's time, [`moment`], but in a subquery that is run for each row: that is planned when
/// it is run, and knows no epoch.)
pub(super) fn refuse_unstable(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        subplan::visit(node, &mut |inner| {
            if moment::reads_clock(inner)? {
                let what = "now() in a subquery that is run for each row is not supported in a continuous query";
                let hint = "Put the condition on the time into a subquery in FROM of the relation that it is of, or around the query.";
                return Err(Error::unsupported(what).hint(hint).into());
            }
            Ok(refuse_unstable(inner)?)
        })?;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.func.signature().volatility == Volatility::Volatile
                    && !is_subplan(&call.func)
                {
                    found = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(format!("{name}() in a continuous query is not supported"))
            .hint("Its value would differ each time; write it into the row when it is inserted, with a DEFAULT or a generated column.")),
    }
}

/// A subquery that the optimizer has not made a join of cannot be run; DataFusion would say so only
/// then.
pub(super) fn refuse_subqueries(plan: &LogicalPlan) -> Result<()> {
    let (mut is_lateral, mut has_subquery) = (false, false);
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                is_lateral |= matches!(part, Expr::OuterReferenceColumn(..));
                has_subquery |=
                    matches!(part, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match (is_lateral, has_subquery) {
        (true, _) => Err(Error::lateral()),
        (false, true) => Err(Error::unsupported(
            "a subquery in this place of a continuous query is not supported yet",
        )
        .hint("Write it in WHERE, or join the table that it reads.")),
        (false, false) => Ok(()),
    }
}

/// Whether a fragment or a plan that an operator asks reads the time of the epoch.
pub(super) fn reads_moment(pipeline: &Pipeline) -> Result<bool> {
    let below = pipeline.sources.iter().map(|source| &source.below.plan);
    let above = pipeline.steps.iter().map(|step| &step.above.plan);
    let asked =
        pipeline.steps.iter().filter_map(|step| step.operator.asks()).map(|asks| &asks.plan);
    for plan in below.chain(above).chain(asked) {
        if moment::is_read_in(plan)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses a pipeline that would compute a row again to take it back, or only when a window closes,
/// which need not be in an epoch that reads anything.
pub(super) fn check_moment(pipeline: &Pipeline) -> Result<()> {
    let mut is_later = false;
    for step in &pipeline.steps {
        is_later |= match &step.operator {
            Stateful::Aggregate { .. } | Stateful::Buffer { .. } => {
                moment::is_read_in(&step.above.plan)?
            }
            Stateful::PerKey(keyed)
            | Stateful::Join(keyed)
            | Stateful::AppendJoin { asked: keyed, .. }
            | Stateful::Over { asked: keyed, .. } => {
                moment::is_read_in(&keyed.plan)? || moment::is_read_in(&step.above.plan)?
            }
            Stateful::Session { .. } => moment::is_read_in(&step.above.plan)?,
            Stateful::Union { .. } | Stateful::Top(_) | Stateful::Temporal(_) => {
                step.retracts && moment::is_read_in(&step.above.plan)?
            }
            Stateful::Assign { .. } => false,
        };
    }
    let what = match (pipeline.retracts(), is_later) {
        (false, false) => return Ok(()),
        (true, _) => "now() over a view whose rows change",
        (false, true) => "now() in what becomes of an aggregate or a closed window",
    };
    Err(Error::unsupported(format!("{what} is not supported in a continuous query"))
        .hint("Use now() when you read the view; in WHERE, below an aggregate, it is the time at which a row is read."))
}
