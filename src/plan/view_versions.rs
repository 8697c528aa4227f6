//! What a view was at a time: `FOR SYSTEM_TIME AS OF` behind the name of a view.
//!
//! A view as of a time is the answer of its query over the rows of its streams whose event time is not
//! after it, beside its tables as they were then. So its versions follow from the rows alone, whenever
//! they came and whenever the view was made:
//! ```text
//!  SELECT DISTINCT ON (currency) currency, rate FROM rates ORDER BY currency, ts DESC
//!
//!  rates: 10:00 EUR 114        versions: EUR 114   from 10:00   until 10:45
//!         10:45 EUR 116                  EUR 116   from 10:45   for ever
//! ```
//! They are a plan like any other, each node of the view's followed by the times of its rows: a row of a
//! stream is there from its event time on; of a join, while both are; the last row of a key, up to the
//! next one's time; a group, from one of its rows to the next. What has no such form (an outer join, a
//! subquery, LIMIT, an aggregate over what changes) is refused by name.
//!
//! Flink calls such views versioned tables ("Temporal joins" in its manual).

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::functions::core::expr_fn::{coalesce, greatest, least};
use datafusion::functions_aggregate::min_max::min_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Distinct, DistinctOn, Expr, Filter, Join, LogicalPlan,
    LogicalPlanBuilder, Projection, SortExpr, SubqueryAlias, TableScan, Union, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, lit,
};

use super::moment::reads_clock;
use super::relations::{has_versions, scanned};
use super::top::{FirstRows, of_rank};
use crate::catalog::{Kind, Relation};
use crate::error::{Error, Result};
use crate::log::table::VERSION_COLUMNS;
use crate::postgres::functions::system_time;
use crate::postgres::subplan;
use crate::state::Numbering;

const SINCE: &str = VERSION_COLUMNS[0];
const UNTIL: &str = VERSION_COLUMNS[1];

/// Of what does not end.
const FOR_EVER: i64 = i64::MAX;

/// The versions of a table of that name.
pub type TableVersions<'a> = &'a dyn Fn(&Arc<Relation>) -> Result<Arc<dyn TableProvider>>;

/// The rows that a view's query has had at any time, each with the microseconds from which and up to which
/// it was there, in the columns `__since` and `__until` behind its own.
///
/// # Errors
/// 0A000 for queries whose versions do not follow from the times of their rows.
pub fn versions(plan: &LogicalPlan, tables: TableVersions) -> Result<LogicalPlan> {
    // Which now() was it then?
    if reads_clock(plan)? {
        return Err(refused("now()"));
    }
    Ok(Versions { tables }.of(plan)?.plan)
}

/// A plan with the times of its rows as its last two columns.
struct Versioned {
    plan: LogicalPlan,
    /// No row of it ever goes.
    appends: bool,
    /// The column that rows are there from the time of.
    time: Option<usize>,
}

struct Versions<'a> {
    tables: TableVersions<'a>,
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("a view with {what} as of a time is not supported"))
        .hint("FOR SYSTEM_TIME AS OF is for tables, and for views over streams with a watermark: their rows, the last row of each key (DISTINCT ON or row_number() = 1 in the order of the event time), and groups of them.")
}

fn own(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The columns of a plan but for the two behind them.
fn columns(versioned: &LogicalPlan) -> Vec<Expr> {
    let schema = versioned.schema();
    schema.iter().take(schema.fields().len() - VERSION_COLUMNS.len()).map(Expr::from).collect()
}

/// The expressions under the names and qualifiers of a schema's columns.
fn named(exprs: impl Iterator<Item = Expr>, like: &DFSchema) -> Vec<Expr> {
    let names = exprs.zip(like.iter());
    names
        .map(|(expr, (relation, field))| expr.alias_qualified(relation.cloned(), field.name()))
        .collect()
}

fn projected(
    mut exprs: Vec<Expr>,
    since: Expr,
    until: Expr,
    input: LogicalPlan,
) -> DfResult<LogicalPlan> {
    exprs.extend([since.alias(SINCE), until.alias(UNTIL)]);
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

/// A column that is handed on as it is.
fn is_column(expr: &Expr, at: usize, of: &LogicalPlan) -> bool {
    let expr = expr.clone().unalias();
    matches!(&expr, Expr::Column(column) if of.schema().maybe_index_of_column(column) == Some(at))
}

impl Versions<'_> {
    fn of(&self, plan: &LogicalPlan) -> Result<Versioned> {
        if let LogicalPlan::Filter(filter) = plan
            && let Some(first) = of_rank(filter)?
        {
            return self.first_rows(first);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scanned(scan),
            LogicalPlan::Distinct(Distinct::On(on)) => self.distinct_on(on),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.of(&sort.input),
            other => {
                let inputs = other.inputs().into_iter().map(|input| self.of(input));
                above(other, inputs.collect::<Result<_>>()?)
            }
        }
    }

    fn scanned(&self, scan: &TableScan) -> Result<Versioned> {
        let Some(relation) = scanned(scan).filter(|_| !has_versions(scan)) else {
            return Err(refused("a system relation or FOR SYSTEM_TIME AS OF"));
        };
        let plan = LogicalPlan::TableScan(scan.clone());
        match &relation.kind {
            Kind::Stream(stream) => {
                let Some(watermark) = &stream.watermark else {
                    return Err(refused(&format!(
                        "stream \"{}\", which has no watermark,",
                        relation.name
                    )));
                };
                let all: Vec<Expr> = plan.schema().iter().map(Expr::from).collect();
                let since = system_time().call(vec![all[watermark.column].clone()]);
                let plan = projected(all, since, lit(FOR_EVER), plan)?;
                Ok(Versioned { plan, appends: true, time: Some(watermark.column) })
            }
            Kind::Table(_) => {
                let source = provider_as_source((self.tables)(&relation)?);
                let versions =
                    LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
                let [since, until] = VERSION_COLUMNS
                    .map(|name| Expr::Column(Column::new(Some(scan.table_name.clone()), name)));
                let plan = projected(columns(&versions), since, until, versions)?;
                Ok(Versioned { plan, appends: false, time: None })
            }
            Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => {
                Err(Error::internal("a view was not put in place"))
            }
        }
    }

    /// `row_number() … = 1`, and what stands between the two.
    fn first_rows(&self, first: FirstRows) -> Result<Versioned> {
        if first.skip != 0 || first.count != 1 || !matches!(first.numbering, Numbering::Rows) {
            return Err(refused("ranks other than row_number() = 1"));
        }
        let input = self.of(&first.input)?;
        let mut versioned = first_of_each(input, first.keys, first.order)?;
        let with_rank = columns(&versioned.plan).into_iter().chain([lit(1_u64)]);
        let with_rank = named(with_rank, &first.output);
        versioned.plan = projected(with_rank, own(SINCE), own(UNTIL), versioned.plan)?;
        for node in &first.above {
            versioned = above(node, vec![versioned])?;
        }
        Ok(versioned)
    }

    fn distinct_on(&self, on: &DistinctOn) -> Result<Versioned> {
        let input = self.of(&on.input)?;
        // The order begins with the key.
        let order = on.sort_expr.iter().flatten().skip(on.on_expr.len()).cloned().collect();
        let first = first_of_each(input, on.on_expr.clone(), order)?;
        let selected = named(on.select_expr.iter().map(|expr| expr.clone().unalias()), &on.schema);
        let time = first.time.and_then(|time| {
            on.select_expr.iter().position(|expr| is_column(expr, time, &first.plan))
        });
        let plan = projected(selected, own(SINCE), own(UNTIL), first.plan)?;
        Ok(Versioned { plan, time, ..first })
    }
}

/// What a node makes of inputs that have their times.
fn above(node: &LogicalPlan, mut inputs: Vec<Versioned>) -> Result<Versioned> {
    let asks = |expr: &Expr| {
        expr.exists(|part| {
            use Expr::{Exists, InSubquery, ScalarSubquery, SetComparison};
            Ok(matches!(part, Exists(_) | InSubquery(_) | ScalarSubquery(_) | SetComparison(_)))
        })
    };
    if node.expressions().iter().any(|expr| asks(expr).unwrap_or(true)) || subplan::applies(node)? {
        return Err(refused("a subquery"));
    }
    match (node, inputs.len()) {
        (LogicalPlan::Union(_), _) => united(inputs),
        (LogicalPlan::Join(join), 2) => {
            let right = inputs.swap_remove(1);
            joined(join, inputs.swap_remove(0), right)
        }
        (_, 1) => over(node, inputs.swap_remove(0)),
        _ => Err(refused("such a query")),
    }
}

fn over(node: &LogicalPlan, input: Versioned) -> Result<Versioned> {
    match node {
        LogicalPlan::Projection(projection) => selected(&projection.expr, input),
        LogicalPlan::SubqueryAlias(alias) => aliased(alias, input),
        LogicalPlan::Filter(filter) => {
            let filter = Filter::try_new(filter.predicate.clone(), Arc::new(input.plan))?;
            Ok(Versioned { plan: LogicalPlan::Filter(filter), ..input })
        }
        LogicalPlan::Distinct(Distinct::All(_)) => distinct(input),
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate, input),
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(refused("LIMIT")),
        LogicalPlan::Window(_) => Err(refused("window functions other than row_number() = 1")),
        _ => Err(refused("such a query")),
    }
}

fn selected(exprs: &[Expr], input: Versioned) -> Result<Versioned> {
    let time = input
        .time
        .and_then(|time| exprs.iter().position(|expr| is_column(expr, time, &input.plan)));
    let plan = projected(exprs.to_vec(), own(SINCE), own(UNTIL), input.plan)?;
    Ok(Versioned { plan, time, ..input })
}

fn aliased(alias: &SubqueryAlias, input: Versioned) -> Result<Versioned> {
    let name = alias.alias.clone();
    let plan = LogicalPlanBuilder::from(input.plan).alias(name.clone())?.build()?;
    let [since, until] =
        VERSION_COLUMNS.map(|column| Expr::Column(Column::new(Some(name.clone()), column)));
    Ok(Versioned { plan: projected(columns(&plan), since, until, plan)?, ..input })
}

fn united(inputs: Vec<Versioned>) -> Result<Versioned> {
    let appends = inputs.iter().all(|input| input.appends);
    let time = inputs.first().and_then(|first| first.time);
    let time = time.filter(|time| inputs.iter().all(|input| input.time == Some(*time)));
    let inputs = inputs.into_iter().map(|input| Arc::new(input.plan)).collect();
    let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
    Ok(Versioned { plan, appends, time })
}

/// Two rows are there together from when both are, until one of them goes.
fn joined(join: &Join, left: Versioned, right: Versioned) -> Result<Versioned> {
    if join.join_type != JoinType::Inner {
        return Err(refused("an outer join"));
    }
    let appends = left.appends && right.appends;
    let time = None;
    let mut all = columns(&left.plan);
    all.extend(columns(&right.plan));
    let side = |side: Versioned, [since, until]: [&str; 2]| {
        let mut exprs = columns(&side.plan);
        exprs.extend([own(SINCE).alias(since), own(UNTIL).alias(until)]);
        Projection::try_new(exprs, Arc::new(side.plan))
            .map(|side| Arc::new(LogicalPlan::Projection(side)))
    };
    let both = Join::try_new(
        side(left, ["__since_left", "__until_left"])?,
        side(right, ["__since_right", "__until_right"])?,
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let since = greatest(vec![own("__since_left"), own("__since_right")]);
    let until = least(vec![own("__until_left"), own("__until_right")]);
    let plan = projected(all, since, until, LogicalPlan::Join(both))?;
    let is_ever = own(SINCE).lt(own(UNTIL));
    let plan = LogicalPlan::Filter(Filter::try_new(is_ever, Arc::new(plan))?);
    Ok(Versioned { plan, appends, time })
}

/// Of equal rows the one that was there first.
fn distinct(input: Versioned) -> Result<Versioned> {
    if !input.appends {
        return Err(refused("DISTINCT over rows that change"));
    }
    let keys = columns(&input.plan);
    let since = aggregate(min_udaf(), own(SINCE));
    let first = Aggregate::try_new(Arc::new(input.plan), keys, vec![since.alias(SINCE)])?;
    let first = LogicalPlan::Aggregate(first);
    let keys = first.schema().iter().take(first.schema().fields().len() - 1).map(Expr::from);
    let plan = projected(keys.collect(), own(SINCE), lit(FOR_EVER), first.clone())?;
    Ok(Versioned { plan, ..input })
}

fn aggregate(function: Arc<AggregateUDF>, of: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(
        function,
        vec![of],
        false,
        None,
        vec![],
        None,
    ))
}

/// A call over the rows of a key in an order, with a frame.
fn over_key(
    function: impl Into<WindowFunctionDefinition>,
    of: Vec<Expr>,
    keys: &[Expr],
    order: Vec<SortExpr>,
    frame: WindowFrame,
) -> WindowFunction {
    let mut call = WindowFunction::new(function, of);
    call.params.partition_by = keys.to_vec();
    call.params.order_by = order;
    call.params.window_frame = frame;
    call
}

/// Ascending, as times follow each other.
fn by_time() -> Vec<SortExpr> {
    vec![own(SINCE).sort(true, false)]
}

/// The time of the next row of a key that is later.
fn next_time(keys: &[Expr]) -> Expr {
    let later = WindowFrame::new_bounds(
        WindowFrameUnits::Range,
        WindowFrameBound::Following(ScalarValue::Int64(Some(1))),
        WindowFrameBound::Following(ScalarValue::Int64(None)),
    );
    over_key(min_udaf(), vec![own(SINCE)], keys, by_time(), later).into()
}

const NEXT: &str = "__next";

fn until_next() -> Expr {
    coalesce(vec![own(NEXT), lit(FOR_EVER)])
}

/// The first row of each key in an order that begins with the event time: with the latest first, each until
/// the next one comes; with the earliest first, the one that stays.
fn first_of_each(input: Versioned, keys: Vec<Expr>, order: Vec<SortExpr>) -> Result<Versioned> {
    let Some((first, ties)) = order.split_first().filter(|(first, _)| {
        input.appends && input.time.is_some_and(|time| is_column(&first.expr, time, &input.plan))
    }) else {
        return Err(refused(
            "the first row of each key in another order than that of its event time",
        ));
    };
    const PLACE: &str = "__place";
    let is_last = !first.asc;
    let by_arrival: Vec<SortExpr> = by_time().into_iter().chain(ties.iter().cloned()).collect();
    let whole = WindowFrame::new(Some(false));
    let (columns, time) = (columns(&input.plan), input.time);
    let mut calls = Vec::new();
    let (is_first, until) = if is_last {
        // Of several at one time the first one in the order.
        let before = over_key(lag_udwf(), vec![own(SINCE)], &keys, by_arrival, whole);
        calls.push(Expr::from(before).alias(PLACE));
        calls.push(next_time(&keys).alias(NEXT));
        (own(PLACE).is_null().or(own(PLACE).not_eq(own(SINCE))), until_next())
    } else {
        let place = over_key(row_number_udwf(), Vec::new(), &keys, by_arrival, whole);
        calls.push(Expr::from(place).alias(PLACE));
        (own(PLACE).eq(lit(1_u64)), own(UNTIL))
    };
    // One after the other: their orders differ.
    let placed = calls
        .into_iter()
        .try_fold(LogicalPlanBuilder::from(input.plan), |plan, call| plan.window(vec![call]))?;
    let placed = placed.build()?;
    let first = LogicalPlan::Filter(Filter::try_new(is_first, Arc::new(placed))?);
    let plan = projected(columns, own(SINCE), until, first)?;
    Ok(Versioned { plan, appends: !is_last, time })
}

/// A group has another value from each time on at which a row came to it.
fn grouped(aggregate: &Aggregate, input: Versioned) -> Result<Versioned> {
    let keys = &aggregate.group_expr;
    if keys.is_empty() || keys.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return Err(refused("an aggregate without GROUP BY, or with grouping sets,"));
    }
    if !input.appends {
        return Err(refused("an aggregate over rows that change"));
    }
    let mut calls = vec![next_time(keys).alias(NEXT)];
    let mut values = Vec::new();
    for (at, expr) in aggregate.aggr_expr.iter().enumerate() {
        let name = format!("__value_{at}");
        calls.push(so_far(expr, keys)?.alias(&name));
        values.push(own(&name));
    }
    let values = named(keys.iter().cloned().chain(values), &aggregate.schema);
    let reckoned = LogicalPlanBuilder::from(input.plan).window(calls)?.build()?;
    let rows = projected(values, own(SINCE), until_next(), reckoned)?;
    // Rows of one time are one.
    let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(rows)));
    Ok(Versioned { plan, appends: false, time: None })
}

/// An aggregate over the rows of a key up to the time of each.
fn so_far(expr: &Expr, keys: &[Expr]) -> Result<Expr> {
    let expr = expr.clone().unalias();
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Err(refused("such an aggregate"));
    };
    if params.distinct || !params.order_by.is_empty() {
        return Err(refused("an aggregate with DISTINCT or ORDER BY"));
    }
    let mut call = over_key(func, params.args, keys, by_time(), WindowFrame::new(Some(false)));
    call.params.filter = params.filter;
    call.params.null_treatment = params.null_treatment;
    Ok(call.into())
}
