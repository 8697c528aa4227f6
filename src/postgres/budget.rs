//! What planning a statement may cost, counted while its plan is made, and whether anyone still
//! waits for it.
//!
//! A few lines of SQL can name a plan of any size: each WITH query that joins the last one with
//! itself doubles it, and so do views. DataFusion puts the plan of a name in place of the name, and
//! copies it to do so. So whoever [plans a name](CountedNames) counts what stands behind it, and a
//! plan that grows beyond [`limits::PLAN_NODES`] is refused before its next copy is made.
//!
//! An [`Allowance`] goes with a statement: as a value of its task while it is planned ([`under`]),
//! and in the options of its session state, which every rule of DataFusion's sees
//! (`checked`), and which its subqueries inherit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, Ident, TableFactor};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::carried::carried;
use super::grouping_sets::check_grouping_sets;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::sql::visit;

/// What one statement may still cost. Its clones are one.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    /// Cancelled when nobody waits for the statement any more.
    pub token: CancellationToken,
    /// Nodes that were put in place of names.
    copied: Arc<AtomicUsize>,
    /// Bytes of constants that were computed.
    constants: Arc<AtomicUsize>,
    /// Plans that are made on the way to each other.
    depth: Arc<AtomicUsize>,
    lane: Option<Arc<Lane>>,
}

/// Where a statement is planned: with the short ones, or with the long ones.
#[derive(Debug)]
struct Lane {
    long: Arc<Semaphore>,
    held: Mutex<HeldPermit>,
}

#[derive(Debug)]
enum HeldPermit {
    Short(
        #[expect(dead_code, reason = "it is held, and given back when it is dropped")]
        OwnedSemaphorePermit,
    ),
    Long(
        #[expect(dead_code, reason = "it is held, and given back when it is dropped")]
        OwnedSemaphorePermit,
    ),
    /// Between the two, or done.
    Neither,
}

impl Lane {
    /// Gives a short place back, if it has one: who waits for a long place must not keep it.
    fn leave_short(&self) -> bool {
        let mut held = self.held.lock();
        let is_short = matches!(*held, HeldPermit::Short(_));
        if is_short {
            *held = HeldPermit::Neither;
        }
        is_short
    }
}

/// Gives the place back at the end of a stage, however it ends: the allowance itself lives as long
/// as the statement.
#[derive(Debug)]
pub struct Leaving(Arc<Lane>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.held.lock() = HeldPermit::Neither;
    }
}

/// A plan that is made on the way to another one.
#[derive(Debug)]
pub struct PlanBelow(Arc<AtomicUsize>);

impl Drop for PlanBelow {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

tokio::task_local! {
    static CURRENT: Allowance;
}

/// Does a piece of planning under this allowance.
pub async fn under<T>(allowance: Allowance, work: impl Future<Output = T>) -> T {
    CURRENT.scope(allowance, work).await
}

impl Allowance {
    /// For a statement that is wanted until the token is cancelled.
    pub fn new(token: CancellationToken) -> Allowance {
        Allowance { token, ..Allowance::default() }
    }

    /// That of the statement that is being planned; a new one where none is (a view that is opened
    /// again).
    pub fn current() -> Allowance {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// That of the statement that has these options.
    pub fn of(options: &ConfigOptions) -> Allowance {
        options.extensions.get::<Allowance>().cloned().unwrap_or_default()
    }

    /// The same allowance for another stage, with a place among the short statements.
    pub fn among_short(
        &self,
        place: OwnedSemaphorePermit,
        long: Arc<Semaphore>,
    ) -> (Allowance, Leaving) {
        let lane = Arc::new(Lane { long, held: Mutex::new(HeldPermit::Short(place)) });
        (Allowance { lane: Some(Arc::clone(&lane)), ..self.clone() }, Leaving(lane))
    }

    /// 57014 as soon as the statement that has these options is no longer wanted.
    pub fn check_in(options: &ConfigOptions) -> DfResult<()> {
        options.extensions.get::<Allowance>().map_or(Ok(()), Allowance::check)
    }

    /// 57014 as soon as the statement is no longer wanted.
    pub fn check(&self) -> DfResult<()> {
        if self.token.is_cancelled() {
            let error = Error::new(SqlState::Cancelled, "canceling statement due to user request");
            return Err(error.into());
        }
        Ok(())
    }

    /// Before the rules of the analyzer and the optimizer see a plan: refuses one that is too
    /// large, and lets one that is not small wait for a place among the long ones.
    pub async fn weigh(&self, plan: &LogicalPlan) -> Result<()> {
        self.check()?;
        if PlanSize::of(plan)?.is_short() {
            return Ok(());
        }
        if let Some(lane) = &self.lane
            && lane.leave_short()
        {
            let place =
                Arc::clone(&lane.long).acquire_owned().await.map_err(|_| shutting_down())?;
            *lane.held.lock() = HeldPermit::Long(place);
        }
        self.check()?;
        Ok(())
    }

    /// Whether so many bytes may be made. While a statement is planned all that is made are
    /// constants, which its plan keeps, all together; there is no other bound here when it is run.
    pub fn take_constant(bytes: usize) -> bool {
        let taken =
            CURRENT.try_with(|allowance| allowance.constants.fetch_add(bytes, Ordering::Relaxed));
        taken.map_or(true, |taken| taken.saturating_add(bytes) <= limits::CALL_BYTES)
    }

    /// Begins to count anew; what is returned is to be put back with [`Allowance::resume`], for a
    /// plan may need another on the way.
    pub fn begin(&self) -> usize {
        self.copied.swap(0, Ordering::Relaxed)
    }

    /// Begins a plan on the way to another one, as deep in that as parts of a statement are in each other.
    ///
    /// # Errors
    /// 54001 beyond [`limits::STATEMENT_DEPTH`], 57014 when it is no longer wanted: nothing else looks
    /// while a plan asks for others.
    pub fn deeper(&self) -> Result<PlanBelow> {
        self.check()?;
        let depth = self.depth.fetch_add(1, Ordering::Relaxed);
        let below = PlanBelow(Arc::clone(&self.depth));
        if depth >= limits::STATEMENT_DEPTH { Err(too_large()) } else { Ok(below) }
    }

    /// Goes on with the count of the plan around.
    pub fn resume(&self, copied: usize) {
        self.copied.store(copied, Ordering::Relaxed);
    }

    /// Counts the nodes behind a name.
    fn count(&self, plan: &LogicalPlan) -> DfResult<()> {
        let nodes = nodes(plan)?;
        let copied = self.copied.fetch_add(nodes, Ordering::Relaxed) + nodes;
        if nodes > limits::PLAN_NODES || copied > limits::PLANNING_WORK {
            return Err(too_large().into());
        }
        if plan.schema().fields().len() > limits::RESULT_COLUMNS {
            return Err(too_wide().into());
        }
        Ok(())
    }
}

/// Planning stands still because the server does.
pub fn shutting_down() -> Error {
    Error::new(SqlState::ShuttingDown, "the server is shutting down")
}

fn too_large() -> Error {
    Error::new(SqlState::TooComplex, "the plan of the statement would be too large")
        .detail(format!("A plan may have {} nodes.", limits::PLAN_NODES))
        .hint(
            "A WITH query or view stands once in the plan for each time it is named: materialize the ones \
             that are named often, with CREATE MATERIALIZED VIEW or CREATE TABLE AS.",
        )
}

fn too_wide() -> Error {
    Error::new(
        SqlState::TooManyColumns,
        format!("a query can have at most {} columns", limits::RESULT_COLUMNS),
    )
    .hint("Select the columns that you need, or put many values into an array.")
}

/// How many nodes the plan has, subqueries included; stops counting beyond the limit.
fn nodes(plan: &LogicalPlan) -> DfResult<usize> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        let is_enough = nodes > limits::PLAN_NODES;
        Ok(if is_enough { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(nodes)
}

/// How large a plan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PlanSize {
    nodes: usize,
    /// Constants are not counted: a list of many is not more work.
    expressions: usize,
}

impl PlanSize {
    /// The size, or 54001 where it is beyond the limits.
    fn of(plan: &LogicalPlan) -> Result<PlanSize> {
        let mut size = PlanSize::default();
        plan.apply_with_subqueries(|node| {
            size.nodes += 1;
            let columns = node.schema().fields();
            if columns.len() > limits::RESULT_COLUMNS && is_result(node) {
                return Err(too_wide().into());
            }
            if columns
                .iter()
                .any(|column| dimensions(column.data_type()) > limits::ARRAY_DIMENSIONS)
            {
                return Err(too_deep().into());
            }
            if !matches!(node, LogicalPlan::Values(_)) {
                node.apply_expressions(|expr| {
                    expr.apply(|part| {
                        size.expressions += usize::from(!matches!(part, Expr::Literal(..)));
                        Ok(TreeNodeRecursion::Continue)
                    })
                })?;
            }
            if size.nodes > limits::PLAN_NODES || size.expressions > limits::PLAN_EXPRESSIONS {
                return Err(too_large().into());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(size)
    }

    fn is_short(self) -> bool {
        self.nodes <= limits::SHORT_PLAN_NODES && self.expressions <= limits::SHORT_PLAN_EXPRESSIONS
    }
}

/// What a SELECT or VALUES gives. The columns of a join need not all come out of the query.
fn is_result(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Values(_))
}

/// Refuses what can be seen in the syntax, before anything is planned: too many columns or
/// relations, arrays in arrays in arrays.
pub fn check_syntax(query: &ast::Query) -> Result<()> {
    use std::ops::ControlFlow;

    use ast::Visitor;

    #[derive(Default)]
    struct Syntax {
        arrays: usize,
        relations: usize,
    }
    impl Visitor for Syntax {
        type Break = Error;
        fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Error> {
            if select.projection.len() > limits::RESULT_COLUMNS {
                return ControlFlow::Break(too_wide());
            }
            if let Err(error) = check_grouping_sets(select) {
                return ControlFlow::Break(error);
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<Error> {
            self.relations += 1;
            if self.relations > limits::STATEMENT_RELATIONS {
                return ControlFlow::Break(too_large());
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
            self.arrays += usize::from(matches!(expr, ast::Expr::Array(_)));
            if self.arrays > limits::ARRAY_DIMENSIONS {
                return ControlFlow::Break(too_deep());
            }
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
            self.arrays -= usize::from(matches!(expr, ast::Expr::Array(_)));
            ControlFlow::Continue(())
        }
    }
    match visit(query, &mut Syntax::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// How deep an array of this type is nested.
fn dimensions(data_type: &DataType) -> usize {
    let (mut dimensions, mut inner) = (0, data_type);
    while let DataType::List(item) = inner {
        dimensions += 1;
        inner = item.data_type();
    }
    dimensions
}

fn too_deep() -> Error {
    let message = format!(
        "number of array dimensions exceeds the maximum allowed ({})",
        limits::ARRAY_DIMENSIONS
    );
    Error::new(SqlState::ProgramLimit, message)
}

/// Plans the names in FROM as DataFusion does, and counts what stands behind them.
#[derive(Debug)]
pub struct CountedNames;

/// Stands as a hint at a name that is being counted already. No text has hints: the dialect does
/// not know them.
const COUNTED: &str = "counted";

impl RelationPlanner for CountedNames {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let allowance = Allowance::of(context.context_provider().options());
        allowance.check()?;
        match relation {
            TableFactor::Table {
                name,
                alias,
                args: None,
                mut with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } if with_hints.is_empty() => {
                with_hints.push(ast::Expr::Identifier(Ident::new(COUNTED)));
                let plan = context.plan(TableFactor::Table {
                    name,
                    alias: None,
                    args: None,
                    with_hints,
                    version,
                    with_ordinality,
                    partitions,
                    json_path,
                    sample,
                    index_hints,
                })?;
                allowance.count(&plan)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

carried!(Allowance, "allowance");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_ask_for_each_other_as_deep_as_statements_go_and_no_longer_than_they_are_wanted() {
        let allowance = Allowance::default();
        let all: Result<Vec<PlanBelow>> =
            (0..limits::STATEMENT_DEPTH).map(|_| allowance.clone().deeper()).collect();
        let all = all.unwrap();
        assert_eq!(allowance.deeper().unwrap_err().state(), SqlState::TooComplex);
        drop(all);
        assert!(allowance.deeper().is_ok());
        allowance.token.cancel();
        assert_eq!(allowance.deeper().unwrap_err().state(), SqlState::Cancelled);
    }
}
