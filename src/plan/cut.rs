//! Cuts a logical plan into a [`Pipeline`], or refuses it with a hint.
//!
//! The plan has been analysed and optimized. Going from the leaves up, each node is one of:
//! *static* (reads no stream; it stays an ordinary DataFusion plan), *stateless* (it joins the
//! fragment that is open), or an operator, which ends that fragment and begins the next: each
//! Aggregate that is met on the way, and a window whose rows wait for it to close, with no aggregate
//! above it.

use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{
    Expr, FetchType, Join, LogicalPlan, Projection, SkipType, TableScan,
};

use super::aggregate;
use super::pipeline::{Pipeline, SourceScan};
use super::relations::scanned;
use super::stage::{CutOptions, Open, Stage, contains_window, joined_changes, rebuilt};
use super::window::WindowNode;
use crate::catalog::{Emission, Kind, Relation};
use crate::error::{Error, Result};

/// Cuts an optimized plan.
pub fn cut(plan: LogicalPlan, options: CutOptions) -> Result<Pipeline> {
    let (plan, limit) = take_limit(plan)?;
    let schema = Arc::clone(plan.schema().inner());
    let mut cutter = Cutter { options, tables: Vec::new(), notices: Vec::new() };
    match cutter.visit(plan, Within::Query)? {
        Stage::Static(_) => Err(Error::unsupported("a continuous query must read a stream").hint(
            "Leave EMIT away, or use CREATE VIEW; a query over tables alone is answered when it is read.",
        )),
        Stage::Open(stage) => cutter.pipeline(*stage, limit, schema),
    }
}

/// What the rows of a part of the plan come to next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The query's answer, or a window.
    Query,
    /// An aggregate, which closes windows itself.
    Aggregate,
}

struct Cutter {
    options: CutOptions,
    tables: Vec<Arc<Relation>>,
    notices: Vec<String>,
}

impl Cutter {
    fn visit(&mut self, plan: LogicalPlan, within: Within) -> Result<Stage> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Join(join) => self.join(join, within),
            LogicalPlan::Aggregate(aggregate) => {
                let input = Arc::unwrap_or_clone(Arc::clone(&aggregate.input));
                match self.visit(input, Within::Aggregate)? {
                    Stage::Static(input) => {
                        rebuilt(&LogicalPlan::Aggregate(aggregate), vec![input]).map(Stage::Static)
                    }
                    Stage::Open(stage) => {
                        aggregate::plan(self.options, &mut self.notices, aggregate, *stage)
                            .map(|stage| Stage::Open(Box::new(stage)))
                    }
                }
            }
            LogicalPlan::Extension(ref extension) => {
                let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>() else {
                    return Err(unsupported_node(&plan));
                };
                let window = window.clone();
                self.window(plan, window, within)
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => self.unary(plan, within),
            other => self.only_static(other),
        }
    }

    fn scan(&mut self, scan: TableScan) -> Result<Stage> {
        let Some(relation) = scanned(&scan) else {
            return Ok(Stage::Static(LogicalPlan::TableScan(scan)));
        };
        match relation.kind {
            Kind::Stream(_) | Kind::MaterializedView(_) => {
                let columns = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..relation.columns.len()).collect(),
                };
                let input = Arc::clone(&scan.projected_schema);
                let source = SourceScan { relation, columns };
                Ok(Stage::Open(Box::new(Open::source(source, input))))
            }
            Kind::Table(_) => {
                if !self.tables.iter().any(|known| known.id == relation.id) {
                    self.tables.push(relation);
                }
                Ok(Stage::Static(LogicalPlan::TableScan(scan)))
            }
            Kind::View { .. } => {
                Err(Error::internal(format!("view {} was not put in place", relation.name)))
            }
        }
    }

    fn unary(&mut self, plan: LogicalPlan, within: Within) -> Result<Stage> {
        let input = match plan.inputs().first() {
            Some(input) => (*input).clone(),
            None => return Ok(Stage::Static(plan)),
        };
        Ok(match self.visit(input, within)? {
            Stage::Static(input) => Stage::Static(rebuilt(&plan, vec![input])?),
            Stage::Open(mut stage) => {
                stage.plan = rebuilt(&plan, vec![stage.plan])?;
                Stage::Open(stage)
            }
        })
    }

    fn window(&mut self, plan: LogicalPlan, window: WindowNode, within: Within) -> Result<Stage> {
        match self.visit(window.input.clone(), Within::Query)? {
            Stage::Static(input) => Ok(Stage::Static(rebuilt(&plan, vec![input])?)),
            Stage::Open(stage) => {
                if contains_window(&stage.plan) {
                    return Err(Error::unsupported(
                        "a window over a window needs an aggregate between them",
                    )
                    .hint("Window the stream once."));
                }
                let plan = rebuilt(&plan, vec![stage.plan.clone()])?;
                let mut stage = *stage;
                if within == Within::Query && aggregate::closes(self.options, &stage, &window) {
                    stage =
                        aggregate::buffer(self.options, &mut self.notices, window, plan, stage)?;
                } else {
                    stage.plan = plan;
                }
                Ok(Stage::Open(Box::new(stage)))
            }
        }
    }

    fn join(&mut self, join: Join, within: Within) -> Result<Stage> {
        let left = self.visit(Arc::unwrap_or_clone(Arc::clone(&join.left)), within)?;
        let right = self.visit(Arc::unwrap_or_clone(Arc::clone(&join.right)), within)?;
        match (left, right) {
            (Stage::Static(left), Stage::Static(right)) => {
                Ok(Stage::Static(rebuilt(&LogicalPlan::Join(join), vec![left, right])?))
            }
            (stream, Stage::Static(table)) => {
                stream.join(|plan| stream_table_join(&join, plan, table, StreamSide::Left))
            }
            (Stage::Static(table), stream) => {
                stream.join(|plan| stream_table_join(&join, plan, table, StreamSide::Right))
            }
            _ => Err(Error::unsupported("a join of two streams is not supported yet").hint(
                "Join a stream with a static table; streams can be joined in a snapshot (without EMIT).",
            )),
        }
    }

    /// Nodes that may stand over static input only.
    fn only_static(&mut self, plan: LogicalPlan) -> Result<Stage> {
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            match self.visit(input.clone(), Within::Query)? {
                Stage::Static(input) => inputs.push(input),
                Stage::Open(_) => return Err(unsupported_node(&plan)),
            }
        }
        Ok(Stage::Static(rebuilt(&plan, inputs)?))
    }

    fn pipeline(
        self,
        stage: Open,
        limit: Option<usize>,
        schema: datafusion::arrow::datatypes::SchemaRef,
    ) -> Result<Pipeline> {
        if stage.is_on_source() && stage.edge.retracts {
            let name = &stage.source.relation.name;
            if self.options.emission == Emission::OnClose {
                return Err(Error::unsupported(format!(
                    "EMIT ON WINDOW CLOSE over \"{name}\", whose rows change, is not supported"
                ))
                .hint("Use EMIT CHANGES."));
            }
            if stage.has_tables {
                return Err(joined_changes(name));
            }
        }
        let lateness = stage.lateness;
        let (source, below, steps) = stage.finish()?;
        Ok(Pipeline {
            source,
            below,
            steps,
            schema,
            emission: self.options.emission,
            limit,
            lateness,
            tables: self.tables,
            notices: self.notices,
            moment: None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamSide {
    Left,
    Right,
}

/// The join with the table as the left (build) side, which DataFusion keeps from run to run, and
/// the stream as the probe side; columns in the order they had.
fn stream_table_join(
    join: &Join,
    stream: LogicalPlan,
    table: LogicalPlan,
    side: StreamSide,
) -> Result<LogicalPlan> {
    let join_type = match side {
        StreamSide::Left => join.join_type.swap(),
        StreamSide::Right => join.join_type,
    };
    let keeps_table_rows = !matches!(
        join_type,
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    );
    if keeps_table_rows || join.null_aware {
        return Err(Error::unsupported("this kind of join of a stream with a table is not supported")
            .hint("Use stream INNER JOIN table or stream LEFT JOIN table, or IN and EXISTS (NOT EXISTS instead of NOT IN)."));
    }
    let on = match side {
        StreamSide::Left => join.on.iter().map(|(l, r)| (r.clone(), l.clone())).collect(),
        StreamSide::Right => join.on.clone(),
    };
    let swapped = Join::try_new(
        Arc::new(table),
        Arc::new(stream),
        on,
        join.filter.clone(),
        join_type,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let swapped = LogicalPlan::Join(swapped);
    if side == StreamSide::Right || !matches!(join_type, JoinType::Inner | JoinType::Right) {
        return Ok(swapped);
    }
    let order: Vec<Expr> =
        join.schema.iter().map(|pair| Expr::Column(Column::from(pair))).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(order, Arc::new(swapped))?))
}

/// LIMIT at the top ends a continuous query; ORDER BY there has no meaning.
fn take_limit(plan: LogicalPlan) -> Result<(LogicalPlan, Option<usize>)> {
    match plan {
        LogicalPlan::Limit(limit) => {
            let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
                (limit.get_skip_type()?, limit.get_fetch_type()?)
            else {
                return Err(Error::unsupported("LIMIT of a continuous query must be a constant"));
            };
            if skip != 0 {
                return Err(Error::unsupported("OFFSET in a continuous query is not supported")
                    .hint("Use LIMIT alone."));
            }
            let plan = Arc::unwrap_or_clone(limit.input);
            if matches!(plan, LogicalPlan::Sort(_)) {
                return Err(order_by());
            }
            Ok((plan, fetch))
        }
        LogicalPlan::Sort(_) => Err(order_by()),
        // The optimizer may have put the limit below the last projection.
        LogicalPlan::Projection(projection)
            if matches!(*projection.input, LogicalPlan::Limit(_)) =>
        {
            let (input, limit) = take_limit(Arc::unwrap_or_clone(projection.input))?;
            Ok((
                LogicalPlan::Projection(Projection::try_new(projection.expr, Arc::new(input))?),
                limit,
            ))
        }
        LogicalPlan::Projection(ref projection)
            if matches!(*projection.input, LogicalPlan::Sort(_)) =>
        {
            Err(order_by())
        }
        other => Ok((other, None)),
    }
}

fn order_by() -> Error {
    Error::unsupported("ORDER BY in a continuous query is not supported")
        .hint("Create a materialized view without ORDER BY and order it when you read it.")
}

fn unsupported_node(plan: &LogicalPlan) -> Error {
    let (what, hint) = match plan {
        LogicalPlan::Sort(_) => return order_by(),
        LogicalPlan::Limit(_) => {
            ("LIMIT inside a continuous query", "Put LIMIT at the end of the query.")
        }
        LogicalPlan::Window(_) => {
            ("OVER in a continuous query", "Use it when you read a materialized view.")
        }
        LogicalPlan::Union(_) => (
            "UNION of streams in a continuous query",
            "Create one view for each stream and UNION ALL them when you read.",
        ),
        LogicalPlan::Distinct(_) => {
            ("DISTINCT ON in a continuous query", "Use GROUP BY with first_value or last_value.")
        }
        LogicalPlan::Subquery(_) => ("this subquery in a continuous query", "Write it as a join."),
        LogicalPlan::RecursiveQuery(_) => {
            ("a recursive query over a stream", "Use a snapshot (without EMIT).")
        }
        _ => (
            "this form of query over a stream",
            "Use filters, projections, TUMBLE or HOP windows, GROUP BY, and joins with static tables.",
        ),
    };
    Error::unsupported(format!("{what} is not supported yet")).hint(hint)
}
