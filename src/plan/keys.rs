//! By which columns the rows of a node belong together.
//!
//! They are found from the plan: PARTITION BY for OVER, the columns that are equal for a join, GROUP
//! BY, the keys of a session. Without any, all rows are of one key, and a NOTICE says so.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::JoinType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Join, LogicalPlan, Projection, Window, when,
};

use super::origin::column_at;
use super::session::SessionNode;
use crate::error::Result;
use crate::postgres::functions::is_last_value_where;

/// By what a node's rows belong together.
#[derive(Debug, Default)]
pub(super) struct KeyColumns {
    /// Over each input.
    pub(super) inputs: Vec<Vec<Expr>>,
    /// The same over what the node gives.
    pub(super) output: Vec<Expr>,
}

impl KeyColumns {
    /// Over this input.
    pub(super) fn of(&self, input: usize) -> &[Expr] {
        self.inputs.get(input).map_or(&[][..], Vec::as_slice)
    }

    /// Whether all rows belong together.
    pub(super) fn is_none(&self) -> bool {
        self.output.is_empty()
    }
}

/// The keys of a node with one input.
pub(super) fn keys_of(node: &LogicalPlan) -> Result<KeyColumns> {
    if let LogicalPlan::Extension(extension) = node
        && let Some(session) = extension.node.as_any().downcast_ref::<SessionNode>()
    {
        let mut keys = session.keys.clone();
        let types = keys.iter().map(|key| key.get_type(session.input.schema()));
        let types = types.collect::<DfResult<Vec<_>>>()?;
        let mut types = types.iter();
        keys.retain(|_| types.next().is_some_and(can_be_key));
        return Ok(KeyColumns { inputs: vec![keys.clone()], output: keys });
    }
    if let LogicalPlan::Aggregate(aggregate) = node {
        return keys_of_groups(node, aggregate);
    }
    let LogicalPlan::Window(window) = node else { return Ok(KeyColumns::default()) };
    let mut common: Option<Vec<Expr>> = None;
    for expr in &window.window_expr {
        let Expr::WindowFunction(call) = expr.clone().unalias() else {
            return Ok(KeyColumns::default());
        };
        let by = call.params.partition_by;
        common = Some(match common {
            None => by,
            Some(known) => known.into_iter().filter(|expr| by.contains(expr)).collect(),
        });
    }
    let mut keys = Vec::new();
    for expr in common.unwrap_or_default() {
        if can_be_key(&expr.get_type(window.input.schema())?) {
            keys.push(expr);
        }
    }
    Ok(KeyColumns { inputs: vec![keys.clone()], output: keys })
}

fn keys_of_groups(node: &LogicalPlan, aggregate: &Aggregate) -> Result<KeyColumns> {
    let mut keys = KeyColumns { inputs: vec![Vec::new()], output: Vec::new() };
    for (at, expr) in aggregate.group_expr.iter().enumerate() {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Ok(KeyColumns::default());
        }
        if can_be_key(&expr.get_type(aggregate.input.schema())?) {
            keys.inputs[0].push(expr.clone());
            keys.output.push(column_at(node, at));
        }
    }
    Ok(keys)
}

/// The keys of a join: what is equal on both sides.
pub(super) fn keys_of_join(join: &Join) -> Result<KeyColumns> {
    let mut keys = KeyColumns { inputs: vec![Vec::new(), Vec::new()], output: Vec::new() };
    // Whether a row is NOT IN a set depends on all of that.
    if join.null_aware {
        return Ok(KeyColumns::default());
    }
    for (left, right) in &join.on {
        let kinds = (left.get_type(join.left.schema())?, right.get_type(join.right.schema())?);
        if kinds.0 != kinds.1 || !can_be_key(&kinds.0) {
            continue;
        }
        keys.inputs[0].push(left.clone());
        keys.inputs[1].push(right.clone());
        keys.output.push(match join.join_type {
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                right.clone()
            }
            JoinType::Full => {
                when(left.clone().is_null(), right.clone()).otherwise(left.clone())?
            }
            JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark => left.clone(),
        });
    }
    Ok(keys)
}

/// Of floats that are equal some differ in their bits.
pub(super) fn can_be_key(kind: &DataType) -> bool {
    !matches!(kind, DataType::Float16 | DataType::Float32 | DataType::Float64) && !kind.is_nested()
}

/// A plan with the keys behind its columns.
pub(super) fn with_keys(plan: LogicalPlan, keys: &[Expr]) -> Result<LogicalPlan> {
    if keys.is_empty() {
        return Ok(plan);
    }
    let mut exprs = columns_of(&plan);
    let named = keys.iter().enumerate();
    exprs.extend(named.map(|(at, key)| key.clone().unalias().alias(format!("__key_{at}"))));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// The columns of a plan.
pub(super) fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    (0..plan.schema().fields().len()).map(|at| column_at(plan, at)).collect()
}

/// How all that is said of state ends that grows with the keys.
pub(super) const EVER_SEEN: &str = "it has ever seen";

/// Whether it is what an ASOF JOIN is planned as.
pub(super) fn is_asof(window: &Window) -> bool {
    window.window_expr.iter().any(is_last_value_where)
}

/// Says that rows are kept for ever.
pub(super) fn say_what_is_kept(notices: &mut Vec<String>, node: &LogicalPlan, is_whole: bool) {
    let what = match node {
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Window(window) if is_asof(window) => "ASOF JOIN",
        LogicalPlan::Window(_) => "OVER",
        LogicalPlan::Extension(_) => "SESSION",
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "LIMIT",
        _ => "this query",
    };
    let notice = if is_whole {
        format!("{what} without a key keeps all rows and looks at all of them whenever one comes")
    } else {
        format!("{what} keeps the rows of every key {EVER_SEEN}")
    };
    if !notices.contains(&notice) {
        notices.push(notice);
    }
}
