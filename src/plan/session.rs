//! SESSION in a FROM clause: rows of a key that follow each other within a gap are in one window,
//! which ends a gap behind the last of them.
//!
//! A session is as long as its rows make it, so it is no window of the clock: a row may join two
//! sessions to one. It is what OVER says over the rows of a key in their order of time:
//!
//! ```text
//!  begins    = the row before is a gap or more away     lag(time) OVER (PARTITION BY keys ORDER BY time)
//!  session   = how many have begun so far               sum(begins) OVER (PARTITION BY keys ORDER BY time)
//!  start     = min(time), end = max(time) + gap         OVER (PARTITION BY keys, session)
//! ```
//! The node keeps this together: a snapshot plans it as that, and so does a continuous query over rows
//! that change, for the keys that have ([`PerKey`](crate::operators::PerKey)). Over event time it is an
//! operator ([`super::session_windows`]).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, IntervalMonthDayNano};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as DfResult, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, UserDefinedLogicalNodeCore, WindowFrame, cast,
    lit, when,
};

use crate::error::{Error, Result, SqlState};
use crate::time::WINDOW_COLUMNS;

/// The input's columns ++ window_start, window_end, window_time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SessionNode {
    /// Its input.
    pub(super) input: LogicalPlan,
    /// The time column, a column of the input.
    pub(super) time: Expr,
    /// How long nothing comes between two sessions, nanoseconds.
    pub(super) gap: i64,
    /// Of which rows sessions are made.
    pub(super) keys: Vec<Expr>,
    schema: DFSchemaRef,
}

impl SessionNode {
    /// `gap` is in nanoseconds.
    pub(super) fn try_new(
        input: LogicalPlan,
        time: Expr,
        gap: i64,
        keys: Vec<Expr>,
    ) -> Result<SessionNode> {
        let Expr::Column(column) = &time else {
            return Err(Error::internal("a session over an expression"));
        };
        if gap <= 0 {
            return Err(Error::new(SqlState::BadArgument, "the gap of a session must be positive")
                .hint("Write for example INTERVAL '10 seconds'."));
        }
        let (qualifier, field) = input.schema().qualified_field_from_column(column)?;
        let (qualifier, time_type) = (qualifier.cloned(), field.data_type().clone());
        let mut fields: Vec<_> =
            input.schema().iter().map(|(q, field)| (q.cloned(), Arc::clone(field))).collect();
        for name in WINDOW_COLUMNS {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, time_type.clone(), true))));
        }
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(SessionNode { input, time, gap, keys, schema: Arc::new(schema) })
    }

    /// The input's columns and the window's.
    pub(super) fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// As OVER says it.
    pub(super) fn spelled_out(&self) -> DfResult<LogicalPlan> {
        let width = self.input.schema().fields().len();
        let own = |plan: &LogicalPlan| -> Vec<Expr> {
            plan.schema().iter().take(width).map(|pair| Expr::Column(Column::from(pair))).collect()
        };
        let named = |name: &str| Expr::Column(Column::new_unqualified(name));
        let by_time = vec![self.time.clone().sort(true, false)];
        let before = over(
            WindowFunctionDefinition::WindowUDF(lag_udwf()),
            self.time.clone(),
            self.keys.clone(),
            Some(by_time.clone()),
        );
        let plan = LogicalPlanBuilder::from(self.input.clone())
            .filter(self.time.clone().is_not_null())?
            .window(vec![before.alias("__before")])?
            .build()?;
        let goes_on = (named("__before") + self.nanos(self.gap)).gt(self.time.clone());
        let begins = when(goes_on, lit(0_i64)).otherwise(lit(1_i64))?.alias("__begins");
        let mut columns = own(&plan);
        columns.push(begins);
        let plan = LogicalPlanBuilder::from(plan).project(columns)?;
        // Rows of one time are in one session, whichever comes first: the frame has all of them.
        let session = over(
            WindowFunctionDefinition::AggregateUDF(sum_udaf()),
            named("__begins"),
            self.keys.clone(),
            Some(by_time),
        );
        let plan = plan.window(vec![session.alias("__session")])?.build()?;
        let mut of = self.keys.clone();
        of.push(named("__session"));
        let edge = |function| {
            let function = WindowFunctionDefinition::AggregateUDF(function);
            over(function, self.time.clone(), of.clone(), None)
        };
        let plan = LogicalPlanBuilder::from(plan)
            .window(vec![edge(min_udaf()).alias("__first"), edge(max_udaf()).alias("__last")])?
            .build()?;
        let mut columns = own(&plan);
        let end = || named("__last") + self.nanos(self.gap);
        let edges = [named("__first"), end(), end() - self.nanos(1_000_000)];
        for (at, edge) in edges.into_iter().enumerate() {
            let (qualifier, field) = self.schema.qualified_field(width + at);
            let edge = cast(edge, field.data_type().clone());
            columns.push(edge.alias_qualified(qualifier.cloned(), field.name()));
        }
        LogicalPlanBuilder::from(plan).project(columns)?.build()
    }

    fn nanos(&self, nanos: i64) -> Expr {
        let interval = IntervalMonthDayNano::new(0, 0, nanos);
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), None)
    }
}

/// A function over all rows of its keys, or up to those of the same time.
fn over(
    function: WindowFunctionDefinition,
    of: Expr,
    keys: Vec<Expr>,
    order: Option<Vec<SortExpr>>,
) -> Expr {
    let mut call = WindowFunction::new(function, vec![of]);
    call.params.partition_by = keys;
    call.params.window_frame = WindowFrame::new(order.as_ref().map(|_| false));
    call.params.order_by = order.unwrap_or_default();
    Expr::from(call)
}

impl PartialOrd for SessionNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.gap.partial_cmp(&other.gap).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for SessionNode {
    fn name(&self) -> &str {
        "Session"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(self.time.clone()).chain(self.keys.clone()).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        // A row that is left out may have held two sessions together.
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SESSION on {}, keys={}", self.time, self.keys.len())
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let time = exprs.remove(0);
        Ok(SessionNode::try_new(inputs.swap_remove(0), time, self.gap, exprs)?)
    }
}
