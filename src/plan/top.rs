//! The first rows of each key: a condition on a rank, and ORDER BY … LIMIT. (DISTINCT ON has become
//! the former when this sees it: [`super::distinct_on`].)
//!
//! ```text
//!  Filter: rn <= 3 AND v > 0        Limit: skip=1, fetch=3           Filter: v > 0
//!    Window: row_number() AS rn       Sort: v                  ─▶      Top: 3 per key
//! ```
//! A condition that a rank is up to a number is what the operator does, and is taken out of the
//! filter; what else the filter says stays above. Whether somebody reads the rank is only known when
//! all of the plan above has been seen ([`leave_out_ranks`]).
//!
//! What does not fit is answered anew by key, as before ([`super::keyed`]): other functions over the
//! same rows, windows that close, keys whose equal values have other bytes, rows that have none.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, FetchType, Filter, Limit, LogicalPlan, Operator,
    SkipType, Window,
};

use super::keyed;
use super::keys::{EVER_SEEN, can_be_key, columns_of, with_keys};
use super::origin::column_at;
use super::pipeline::{Frontier, OperatorPlan, Stateful};
use super::placeholder::INPUT;
use super::stage::{CutOptions, Edge, Open, Stage, rebuilt};
use crate::catalog::Emission;
use crate::error::Result;
use crate::operators::{RankColumn, TopSpec};
use crate::postgres::subplan;
use crate::state::{Numbering, Wanted};

/// The first rows of something.
pub(super) struct FirstRows {
    /// Of what.
    pub(super) input: LogicalPlan,
    pub(super) keys: Vec<Expr>,
    pub(super) order: Vec<SortExpr>,
    pub(super) numbering: Numbering,
    pub(super) skip: usize,
    pub(super) count: usize,
    /// The name of the column with the rank, if there is one behind the input's.
    rank: Option<String>,
    /// The columns that are given.
    pub(super) output: DFSchemaRef,
    /// What stands above, the lowest first.
    pub(super) above: Vec<LogicalPlan>,
}

/// What a plan takes the first rows of, if that is what it does.
pub(super) fn first_rows(options: CutOptions, plan: &LogicalPlan) -> Result<Option<FirstRows>> {
    // The operator does not forget keys.
    if options.emission == Emission::OnClose || options.state.ttl_ms.is_some() {
        return Ok(None);
    }
    let found = match plan {
        LogicalPlan::Filter(filter) => of_rank(filter)?,
        LogicalPlan::Limit(limit) => of_limit(limit)?,
        _ => None,
    };
    match found {
        Some(found) if found.can_be_ordered()? => Ok(Some(found)),
        _ => Ok(None),
    }
}

pub(super) fn of_rank(filter: &Filter) -> Result<Option<FirstRows>> {
    let (mut between, mut below) = (Vec::new(), filter.input.as_ref());
    while let LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) = below {
        between.push(below.clone());
        let Some(next) = below.inputs().first().copied() else { return Ok(None) };
        below = next;
    }
    let LogicalPlan::Window(window) = below else { return Ok(None) };
    let Some((numbering, call)) = numbered(window) else { return Ok(None) };
    if subplan::applies(below)? {
        return Ok(None);
    }
    let rank = window.input.schema().fields().len();
    let (mut bounds, mut others) = (Bounds::default(), Vec::new());
    for condition in split_conjunction_owned(filter.predicate.clone()) {
        let is_rank = |expr: &Expr| descend(expr, &filter.input, below) == Some(rank);
        match bound(&condition, is_rank) {
            Some(found) if bounds.take(found, numbering) => {}
            _ => others.push(condition),
        }
    }
    let Some(last) = bounds.to.filter(|last| *last > bounds.behind) else { return Ok(None) };
    between.reverse();
    if let Some(predicate) = conjunction(others) {
        let rest = Filter::try_new(predicate, Arc::clone(&filter.input))?;
        between.push(LogicalPlan::Filter(rest));
    }
    Ok(Some(FirstRows {
        input: window.input.as_ref().clone(),
        keys: call.params.partition_by,
        order: call.params.order_by,
        numbering,
        skip: bounds.behind,
        count: last - bounds.behind,
        rank: Some(window.schema.field(rank).name().clone()),
        output: Arc::clone(&window.schema),
        above: between,
    }))
}

/// How a node numbers its rows, if that is all that it does.
fn numbered(window: &Window) -> Option<(Numbering, WindowFunction)> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let Expr::WindowFunction(call) = expr.clone().unalias() else { return None };
    let numbering = match call.fun.name() {
        "row_number" => Numbering::Rows,
        "rank" => Numbering::Rank,
        "dense_rank" => Numbering::DenseRank,
        _ => return None,
    };
    let is_plain = call.params.filter.is_none() && !call.params.distinct;
    let is_last = window.schema.fields().last()?.data_type() == &DataType::UInt64;
    (is_plain && is_last).then_some((numbering, *call))
}

/// The column of the node `at` that an expression over `plan` is, if it is one.
fn descend(expr: &Expr, plan: &LogicalPlan, at: &LogicalPlan) -> Option<usize> {
    let column = match expr {
        Expr::Alias(alias) => return descend(&alias.expr, plan, at),
        // A rank has room in any of these.
        Expr::Cast(Cast { expr, field }) if field.data_type().is_integer() => {
            return descend(expr, plan, at);
        }
        Expr::Column(column) => plan.schema().maybe_index_of_column(column)?,
        _ => return None,
    };
    match plan {
        plan if std::ptr::eq(plan, at) => Some(column),
        LogicalPlan::Projection(inner) => descend(&inner.expr[column], &inner.input, at),
        LogicalPlan::SubqueryAlias(inner) => {
            descend(&column_at(&inner.input, column), &inner.input, at)
        }
        _ => None,
    }
}

/// A condition on a rank: how it stands to a number.
fn bound(condition: &Expr, is_rank: impl Fn(&Expr) -> bool) -> Option<(Operator, i128)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    match (left.as_ref(), right.as_ref()) {
        (rank, Expr::Literal(value, _)) if is_rank(rank) => Some((*op, integer(value)?)),
        (Expr::Literal(value, _), rank) if is_rank(rank) => Some((op.swap()?, integer(value)?)),
        _ => None,
    }
}

fn integer(value: &ScalarValue) -> Option<i128> {
    match value.cast_to(&DataType::Decimal128(38, 0)) {
        Ok(ScalarValue::Decimal128(whole, ..)) if value.data_type().is_integer() => whole,
        _ => None,
    }
}

/// Ranks behind one number and up to another.
#[derive(Default)]
struct Bounds {
    behind: usize,
    to: Option<usize>,
}

impl Bounds {
    /// Takes in a bound; whether it is done with.
    fn take(&mut self, (operator, number): (Operator, i128), numbering: Numbering) -> bool {
        let (from, to) = match operator {
            Operator::Eq => (Some(number), Some(number)),
            Operator::Lt => (None, Some(number - 1)),
            Operator::LtEq => (None, Some(number)),
            Operator::Gt => (Some(number + 1), None),
            Operator::GtEq => (Some(number), None),
            _ => return false,
        };
        // What is before 1 is an answer without rows.
        let place = |number: i128| usize::try_from(number).unwrap_or(0);
        if let Some(to) = to {
            self.to = Some(self.to.map_or(place(to), |known| known.min(place(to))));
        }
        let behind = from.map_or(0, |from| place(from - 1));
        if numbering == Numbering::Rows {
            self.behind = self.behind.max(behind);
        }
        // Of groups of equal rows the first ones cannot be left out by counting.
        numbering == Numbering::Rows || behind == 0
    }
}

fn of_limit(limit: &Limit) -> Result<Option<FirstRows>> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Ok(None);
    };
    let count = fetch.unwrap_or(usize::MAX);
    if count == 0 || (skip, fetch) == (0, None) {
        return Ok(None);
    }
    let (mut above, mut input, mut order) = (Vec::new(), limit.input.as_ref(), Vec::new());
    if keyed::is_ordered(input) {
        while !matches!(input, LogicalPlan::Sort(_)) {
            above.push(input.clone());
            let Some(next) = input.inputs().first().copied() else { return Ok(None) };
            input = next;
        }
    }
    if subplan::applies(input)? {
        return Ok(None);
    }
    if let LogicalPlan::Sort(sort) = input {
        if sort.fetch.is_some() {
            return Ok(None);
        }
        order = sort.expr.clone();
        input = &sort.input;
    }
    above.reverse();
    Ok(Some(FirstRows {
        input: input.clone(),
        keys: Vec::new(),
        order,
        numbering: Numbering::Rows,
        skip,
        count,
        rank: None,
        output: Arc::clone(input.schema()),
        above,
    }))
}

impl FirstRows {
    /// Whether its rows can be kept in order: they have columns, and all of what they are kept,
    /// compared and ordered by has bytes.
    fn can_be_ordered(&self) -> Result<bool> {
        let schema = self.input.schema();
        let mut fields: Vec<SortField> =
            schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        for key in &self.keys {
            if !can_be_key(&key.get_type(schema)?) {
                return Ok(false);
            }
        }
        for by in &self.order {
            fields.push(SortField::new(by.expr.get_type(schema)?));
        }
        Ok(!schema.fields().is_empty() && RowConverter::supports_fields(&fields))
    }
}

/// The operator over its input, and what stands above it.
pub(super) fn plan(notices: &mut Vec<String>, first: FirstRows, input: Open) -> Result<Stage> {
    let mut part = input;
    let schema = Arc::clone(part.plan.schema());
    let width = schema.fields().len();
    let (own, mut computed) = (columns_of(&part.plan), Vec::new());
    let mut place = |expr: &Expr| {
        own.iter().position(|column| column == expr).unwrap_or_else(|| {
            computed.push(expr.clone());
            width + computed.len() - 1
        })
    };
    let keys: Vec<usize> = first.keys.iter().map(&mut place).collect();
    let mut order = Vec::with_capacity(first.order.len());
    for by in &first.order {
        let options =
            arrow::compute::SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
        let kind = by.expr.get_type(&schema)?;
        order.push((place(&by.expr), SortField::new_with_options(kind, options)));
    }
    part.plan = with_keys(part.plan, &computed)?;
    let keeps_rest = part.edge.retracts;
    notices.extend(what_is_kept(&first, keeps_rest).filter(|notice| !notices.contains(notice)));
    let rank = first.rank.map(|name| RankColumn { name, is_read: true });
    let (skip, count, numbering) = (first.skip, first.count, first.numbering);
    let wanted = Wanted { numbering, skip, count, keeps_rest };
    let operator = Stateful::Top(Box::new(TopSpec { keys, order, wanted, width, rank }));
    let mut stage =
        Open::over(vec![part], (operator, Frontier::Input), &first.output, Edge::of(true))?;
    for node in first.above {
        stage.plan = rebuilt(&node, vec![stage.plan])?;
    }
    Ok(Stage::Open(Box::new(stage)))
}

/// What is said of state that cannot be forgotten.
fn what_is_kept(first: &FirstRows, keeps_rest: bool) -> Option<String> {
    let last = first.skip.saturating_add(first.count);
    match (keeps_rest || last == usize::MAX, first.keys.is_empty()) {
        (true, true) => {
            Some("this query keeps all rows that it is to give the first of".to_owned())
        }
        (true, false) => Some(format!("this query keeps the rows of every key {EVER_SEEN}")),
        (false, true) => None,
        (false, false) if last == 1 => {
            Some(format!("this query keeps the first row of every key {EVER_SEEN}"))
        }
        (false, false) => {
            Some(format!("this query keeps the first {last} rows of every key {EVER_SEEN}"))
        }
    }
}

/// Where nobody reads a rank, a change of ranks changes nothing.
pub(super) fn leave_out_ranks(steps: &mut [OperatorPlan]) {
    for step in steps {
        if let Stateful::Top(spec) = &mut step.operator
            && let Some(rank) = &mut spec.rank
        {
            let all = (0..step.above.plan.schema().fields().len()).collect();
            rank.is_read = reads(&step.above.plan, all, spec.width);
        }
    }
}

/// Whether these columns of a plan follow from this column of what it is over.
fn reads(plan: &LogicalPlan, wanted: BTreeSet<usize>, column: usize) -> bool {
    let columns_in = |expr: &Expr, below: &LogicalPlan| -> Vec<usize> {
        let named = expr.column_refs();
        named.into_iter().filter_map(|c| below.schema().maybe_index_of_column(c)).collect()
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            scan.table_name.table() == INPUT && wanted.contains(&column)
        }
        LogicalPlan::Projection(projection) => {
            let below = wanted.iter().flat_map(|at| {
                let expr = projection.expr.get(*at);
                expr.map_or_else(Vec::new, |expr| columns_in(expr, &projection.input))
            });
            reads(&projection.input, below.collect(), column)
        }
        LogicalPlan::Filter(filter) => {
            let looked_at = columns_in(&filter.predicate, &filter.input);
            reads(&filter.input, wanted.into_iter().chain(looked_at).collect(), column)
        }
        LogicalPlan::SubqueryAlias(alias) => reads(&alias.input, wanted, column),
        other => other
            .inputs()
            .into_iter()
            .any(|below| reads(below, (0..below.schema().fields().len()).collect(), column)),
    }
}
