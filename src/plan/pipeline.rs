//! What a continuous query is made of: a source, a stateless fragment, and any number of steps, each
//! a stateful operator with the fragment on top of it.
//!
//! ```text
//!  source ─rows▶ below (DataFusion) ─▶ operator ─delta▶ above (DataFusion) ─▶ … ─delta▶ view, client
//!                                     └────────────── a step ──────────────┘
//! ```
//! A pipeline is a value: it is made by [`super::cut`] from a logical plan and holds no state.
//! [`crate::exec`] runs it.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::LogicalPlan;

use super::moment::Moment;
use crate::catalog::{Emission, Kind, Relation};
use crate::operators::lateness::LatenessRule;
use crate::operators::{AggregateSpec, Windowing};

/// A continuous query, ready to be run.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// What it reads.
    pub source: SourceScan,
    /// From the source's columns to the first operator's input (or to the output, if there is no
    /// operator).
    pub below: FragmentPlan,
    /// The operators, in the order in which a row comes to them.
    pub steps: Vec<OperatorPlan>,
    /// The query's columns.
    pub schema: SchemaRef,
    /// When it emits.
    pub emission: Emission,
    /// It ends after so many rows.
    pub limit: Option<usize>,
    /// How it uses event time; None if nothing in it closes.
    pub lateness: Option<LatenessRule>,
    /// The static relations it joins.
    pub tables: Vec<Arc<Relation>>,
    /// What is said when it is created (state that cannot be forgotten).
    pub notices: Vec<String>,
    /// The time of the running epoch, if something in it reads it (`now()`).
    pub moment: Option<Moment>,
}

impl Pipeline {
    /// Whether rows, once put out, are never taken back.
    pub fn is_append_only(&self) -> bool {
        let aggregates =
            self.steps.iter().any(|step| matches!(step.operator, Stateful::Aggregate { .. }));
        let changes = aggregates && self.emission == Emission::OnChange;
        !changes && !self.source.retracts()
    }

    /// The columns that come to the operator of the step at this place; behind the last step: those
    /// of the query.
    pub fn step_input(&self, at: usize) -> &DFSchemaRef {
        let fragment = match at.checked_sub(1).and_then(|below| self.steps.get(below)) {
            Some(step) => &step.above,
            None => &self.below,
        };
        fragment.plan.schema()
    }
}

/// A stateful operator and what takes its changes to the next one, or to the query's columns.
#[derive(Debug, Clone)]
pub struct OperatorPlan {
    /// The operator.
    pub operator: Stateful,
    /// How far what it gives out is complete.
    pub frontier: Frontier,
    /// From the operator's output on.
    pub above: FragmentPlan,
}

impl SourceScan {
    /// Whether the source takes rows back: a materialized view whose answer changes.
    pub fn retracts(&self) -> bool {
        match &self.relation.kind {
            Kind::MaterializedView(view) => !view.append_only,
            _ => false,
        }
    }
}

/// How far the rows are complete that an operator gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontier {
    /// Up to the windows that it has closed.
    Closed,
    /// As far as those that come to it: it gives out a window of the rows of closed windows as soon
    /// as they have all come.
    Input,
}

/// The source's side: which relation, and which of its columns.
#[derive(Debug, Clone)]
pub struct SourceScan {
    /// A stream, or a materialized view.
    pub relation: Arc<Relation>,
    /// Positions of the columns that are read, in order.
    pub columns: Vec<usize>,
}

/// A logical plan over a placeholder that is given other rows at each run.
#[derive(Debug, Clone)]
pub struct FragmentPlan {
    /// Its leaf named [`super::placeholder::INPUT`] is the placeholder.
    pub plan: LogicalPlan,
    /// The schema of the placeholder.
    pub input: DFSchemaRef,
    /// The plan hands every input row through as it is.
    pub is_identity: bool,
    /// It reads static tables.
    pub has_tables: bool,
}

/// The stateful operator.
#[derive(Debug, Clone)]
pub enum Stateful {
    /// GROUP BY with or without a window.
    Aggregate {
        /// For the operator.
        spec: AggregateSpec,
        /// For each column that `above` expects: its position in the operator's output.
        output: Vec<usize>,
    },
    /// Rows of a window function without an aggregate, put out at once, in the windows that are
    /// still open.
    Assign {
        /// The windows, over a column of `below`'s output.
        windowing: Windowing,
    },
    /// Rows of a window function without an aggregate, held until their windows close.
    Buffer {
        /// The windows, over a column of `below`'s output.
        windowing: Windowing,
    },
}
