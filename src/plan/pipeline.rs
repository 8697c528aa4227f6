//! What a continuous query is made of: sources, each with a stateless fragment on it, and any number
//! of steps, each a stateful operator with the fragment on top of it.
//!
//! ```text
//!  source ─rows▶ below (DataFusion) ─▶ operator ─delta▶ above (DataFusion) ─▶ … ─delta▶ view, client
//!                                     └────────────── a step ──────────────┘
//!  source ─rows▶ below ─▶┐ port 0
//!  source ─rows▶ below ─▶┤ port 1   an operator of several ports joins or unites what comes to them
//! ```
//! What a source or a step gives goes to ports of later steps, to several where parts of the query
//! are equal ([`super::equal_parts`]), and what the last step gives is the query's. A pipeline is a
//! value: it is made by [`super::cut`] from a logical plan
//! and holds no state. [`crate::exec`] runs it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::LogicalPlan;

use super::moment::Moment;
use crate::catalog::{Emission, Kind, Relation};
use crate::operators::lateness::LatenessRule;
use crate::operators::{
    AggregateSpec, JoinSpec, OverSpec, SessionSpec, TemporalSpec, TopSpec, Windowing,
};

/// A continuous query, ready to be run.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// What it reads; nothing, if it is a query of constants.
    pub sources: Vec<SourcePlan>,
    /// The operators: each stands behind those that give to it.
    pub steps: Vec<OperatorPlan>,
    /// The query's columns.
    pub schema: SchemaRef,
    /// When it emits.
    pub emission: Emission,
    /// It ends after so many rows.
    pub limit: Option<usize>,
    /// The static relations it joins.
    pub tables: Vec<Arc<Relation>>,
    /// What is said when it is created (state that cannot be forgotten).
    pub notices: Vec<String>,
    /// The time of the running epoch, if something in it reads it (`now()`).
    pub moment: Option<Moment>,
    /// An event time of its rows, if one of its columns is one.
    pub event_time: Option<OutputTime>,
}

/// A column of a query's rows by whose values they come in order, but for a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputTime {
    /// Which.
    pub column: usize,
    /// How far behind the greatest value that has come those to come may be, ticks.
    pub delay: i64,
    /// How far behind what the query has come to, ticks.
    pub behind: i64,
}

impl Pipeline {
    /// Whether rows, once put out, are never taken back.
    pub fn is_append_only(&self) -> bool {
        !self.retracts() && !self.steps.iter().any(|step| step.retracts)
    }

    /// Whether a source takes rows back.
    pub fn retracts(&self) -> bool {
        self.sources.iter().any(|source| source.scan.retracts())
    }

    /// Whether what comes to a port of the step at this place is taken back at times.
    pub fn retracts_into(&self, at: usize, port: usize) -> bool {
        match self.steps[at].inputs[port] {
            Giver::Source(source) => self.sources[source].scan.retracts(),
            Giver::Step(step) => self.steps[step].retracts,
        }
    }

    /// Whether rows of it can be late: windows in it close.
    pub fn closes(&self) -> bool {
        self.sources.iter().any(|source| source.lateness.is_some())
    }

    /// Whether how far the rows are complete that come out of a step depends on which rows it keeps.
    pub fn has_rows_that_wait(&self) -> bool {
        let waits = |step: &OperatorPlan| match &step.operator {
            Stateful::Over { spec, .. } => spec.ahead.counts(),
            _ => false,
        };
        self.steps.iter().any(waits)
    }

    /// What comes to a port of the step at this place: the columns of what gives to it.
    pub fn step_input(&self, at: usize, port: usize) -> &DFSchemaRef {
        let fragment = match self.steps[at].inputs[port] {
            Giver::Source(source) => &self.sources[source].below,
            Giver::Step(step) => &self.steps[step].above,
        };
        fragment.plan.schema()
    }
}

/// A source, and what is done with its rows by themselves.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// What is read.
    pub scan: SourceScan,
    /// From the source's columns to what takes its rows (or to the output, if there is no operator).
    pub below: FragmentPlan,
    /// Which of its rows are late; None if nothing that they come to closes.
    pub lateness: Option<LatenessRule>,
}

/// What gives rows to a port of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// The source at this place.
    Source(usize),
    /// The step at this place.
    Step(usize),
}

/// A stateful operator and what takes its changes to the next one, or to the query's columns.
#[derive(Debug, Clone)]
pub struct OperatorPlan {
    /// What gives to each of its ports.
    pub inputs: Vec<Giver>,
    /// The operator.
    pub operator: Stateful,
    /// How far what it gives out is complete.
    pub frontier: Frontier,
    /// It takes back rows that it has given out.
    pub retracts: bool,
    /// It forgets keys that no row has come for, for so many milliseconds.
    pub ttl_ms: Option<i64>,
    /// From the operator's output on.
    pub above: FragmentPlan,
}

impl SourceScan {
    /// Whether the source takes rows back: a materialized view whose answer changes, a table.
    pub fn retracts(&self) -> bool {
        match &self.relation.kind {
            Kind::MaterializedView(view) => !view.append_only,
            Kind::Table(_) => true,
            Kind::Stream(_) | Kind::View { .. } | Kind::Sink(_) => false,
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
    /// A stream, a materialized view, or a static table.
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
    /// Rows of a session window, put out when their session closes, or whenever it has changed.
    Session {
        /// The sessions.
        spec: SessionSpec,
    },
    /// The rows of all ports, with the columns of the first: UNION ALL. With one port: the rows of a part
    /// of the query that stands in it more than once, on their way to one of those that take them.
    Union {
        /// The columns.
        schema: DFSchemaRef,
    },
    /// The first rows of each key in an order.
    Top(Box<TopSpec>),
    /// Rows while a condition on the time holds.
    Temporal(TemporalSpec),
    /// Any plan over the rows of each key, answered again for the keys that an epoch has touched.
    PerKey(Box<PerKeyPlan>),
    /// An inner join of two ports whose rows change: the plan is asked about the rows that come on one
    /// side and those of their keys on the other.
    Join(Box<PerKeyPlan>),
    /// A join of two ports whose rows stay, in all kinds. The plan is asked likewise; it gives the
    /// pairs and what [`AppendJoin`](crate::operators::AppendJoin) wants to know of each side.
    AppendJoin {
        /// The plan.
        asked: Box<PerKeyPlan>,
        /// What is joined.
        spec: JoinSpec,
        /// The columns of what is given.
        output: SchemaRef,
    },
    /// OVER of rows that stay, in the order of their event time; the plan is asked about the rows that
    /// are final and those that they reach.
    Over {
        /// The plan.
        asked: Box<PerKeyPlan>,
        /// What is kept, and when it is answered.
        spec: OverSpec,
    },
}

impl Stateful {
    /// What is asked about the rows of an operator that has a plan answer for them.
    pub fn asks(&self) -> Option<&PerKeyPlan> {
        match self {
            Stateful::PerKey(plan)
            | Stateful::Join(plan)
            | Stateful::AppendJoin { asked: plan, .. }
            | Stateful::Over { asked: plan, .. } => Some(plan),
            Stateful::Aggregate { .. }
            | Stateful::Assign { .. }
            | Stateful::Buffer { .. }
            | Stateful::Session { .. }
            | Stateful::Union { .. }
            | Stateful::Top(_)
            | Stateful::Temporal(_) => None,
        }
    }
}

/// A plan over the rows of a key, and where the key is.
#[derive(Debug, Clone)]
pub struct PerKeyPlan {
    /// The plan; a leaf made by [`placeholder_of`](super::placeholder::placeholder_of) for each port. Its last columns are
    /// the key.
    pub plan: LogicalPlan,
    /// How many columns the key has; none: all rows are of one key.
    pub key: usize,
    /// The first column of the key in each port's rows; the others follow.
    pub ports: Vec<usize>,
    /// When a key is answered; None: at the end of each epoch that has touched it.
    pub closes: Option<ClosingKey>,
}

/// A key is answered once, when the window that it is in has closed: its first column is a column of
/// the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosingKey {
    /// From there to the window's `window_time`, in ticks.
    pub until: i64,
}
