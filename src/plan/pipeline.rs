//! What a continuous query is made of: a source, a stateless fragment, at most one stateful
//! operator, another fragment.
//!
//! ```text
//!  source ─rows▶ below (DataFusion) ─▶ stateful operator ─delta▶ above (DataFusion) ─delta▶ view,
//!                                                                                         client
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
    /// From the source's columns to the operator's input (or to the output, if there is no
    /// operator).
    pub below: FragmentPlan,
    /// The operator in the middle.
    pub stateful: Stateful,
    /// From the operator's output to the query's; None where there is no operator.
    pub above: Option<FragmentPlan>,
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
        let changes = matches!(self.stateful, Stateful::Aggregate { .. })
            && self.emission == Emission::OnChange;
        !changes && !self.source.retracts()
    }
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
    /// None: filter, projection, UNNEST, stream-table join.
    Nothing,
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
