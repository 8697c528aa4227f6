//! A step of a running pipeline: an operator, what its plan answers, and the fragment on top of it.

use std::sync::Arc;

use datafusion::execution::context::SessionState;
use tokio_util::sync::CancellationToken;

use super::above::{Above, with_schema};
use super::answering::{Answering, Answers};
use super::map::Tables;
use super::node_figures::NodeWork;
use super::operator::{Operator, assigned};
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::operators::Closing;
use crate::operators::emitted::EmittedRows;
use crate::operators::join::JoinQuestion;
use crate::operators::per_key::Question;
use crate::plan::{Frontier, Pipeline, Stateful};
use crate::state::{Delta, StateTable};
use crate::time::Watermark;

/// An operator and what takes its changes on.
pub(super) struct RunningStep {
    /// As EXPLAIN says it.
    pub(super) name: Arc<str>,
    pub(super) operator: Operator,
    /// Of an operator that keeps rows by key: what answers for the keys.
    pub(super) answering: Option<Answering>,
    frontier: Frontier,
    /// How far what has come to each port is complete.
    pub(super) passed: Vec<Watermark>,
    /// None: nothing is to be done.
    pub(super) above: Option<Above>,
    /// The port of a later step that takes its rows; None: they go out.
    pub(super) to: Option<(usize, usize)>,
    pub(super) work: NodeWork,
}

impl RunningStep {
    /// The step at this place, without state; `passed`: how far what comes to each port is complete.
    pub(super) async fn new(
        pipeline: &Pipeline,
        at: usize,
        passed: Vec<Watermark>,
        to: Option<(usize, usize)>,
        state: &Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<RunningStep> {
        let plan = &pipeline.steps[at];
        let schema = match to {
            None => &pipeline.schema,
            Some(_) => plan.above.plan.schema().inner(),
        };
        let above = if plan.above.is_identity {
            None
        } else {
            Some(Above::new(plan, Arc::clone(schema), state, tables).await?)
        };
        let answering = match &plan.operator {
            Stateful::PerKey(keyed) | Stateful::Join(keyed) => {
                Some(Answering::new(&keyed.plan, keyed.ports.len(), state).await?)
            }
            _ => None,
        };
        let watermark = passed.iter().copied().min().unwrap_or(Watermark::NONE);
        let operator = Operator::at(pipeline, at, watermark)?;
        let (frontier, work) = (plan.frontier, NodeWork::default());
        let name = super::explain::operator(pipeline, at).into();
        Ok(RunningStep { name, operator, answering, frontier, passed, above, to, work })
    }

    /// How far all that has come is complete.
    pub(super) fn input(&self) -> Watermark {
        self.passed.iter().copied().min().unwrap_or(Watermark::NONE)
    }

    /// How far what it has given out is complete when its input is as far as this, and it has given
    /// out all that this closes.
    pub(super) fn frontier(&self, watermark: Watermark) -> Watermark {
        match self.frontier {
            Frontier::Closed => self.operator.frontier(watermark),
            Frontier::Input => watermark,
        }
    }

    /// From the operator's output to what is above.
    pub(super) async fn carry(&mut self, delta: Delta) -> Result<Delta> {
        let watch = NodeWork::watch(delta.rows());
        let delta = self.operator.picked(delta)?;
        let delta = match &mut self.above {
            None => delta,
            Some(above) => above.run(delta).await?,
        };
        self.work.gave(delta.rows());
        self.work.spent(watch);
        Ok(delta)
    }

    /// What its plan is to be asked: about what this frontier has closed, or about what the epoch has
    /// brought.
    pub(super) fn question(&mut self, closed: Option<Watermark>) -> Result<Option<Asked>> {
        Ok(match (&mut self.operator, closed) {
            (Operator::PerKey(operator), Some(frontier)) => {
                operator.due(frontier)?.map(Asked::Keys)
            }
            (Operator::PerKey(operator), None) => operator.touched()?.map(Asked::Keys),
            (Operator::Join(operator), None) => operator.question()?.map(Asked::Rows),
            _ => None,
        })
    }

    /// Asks its plan.
    pub(super) fn ask(&self, asked: &Asked) -> Result<Answers> {
        let answering = self.answering()?;
        match asked {
            Asked::Keys(question) => answering.ask(&question.ports),
            Asked::Rows(question) => answering.ask(&question.ports),
        }
    }

    fn answering(&self) -> Result<&Answering> {
        let none = || Error::internal("a question to an operator that has no plan");
        self.answering.as_ref().ok_or_else(none)
    }

    /// Whether parts of an answer are given on at once, however long the rest is.
    pub(super) fn gives_parts(&self) -> bool {
        matches!(&self.operator, Operator::Join(operator) if !operator.retracts())
    }

    /// All of an answer.
    pub(super) async fn answer(
        &mut self,
        asked: Asked,
        answers: Answers,
        stop: &CancellationToken,
    ) -> Result<Delta> {
        let watch = Some(Stopwatch::start());
        let rows = self.answering()?.all(answers, stop).await?;
        let delta = match (&mut self.operator, asked) {
            (Operator::PerKey(operator), Asked::Keys(question)) => {
                operator.answer(&question, &rows)
            }
            (Operator::Join(operator), Asked::Rows(question)) => operator.answer(&question, rows),
            _ => Err(Error::internal("a question to another operator")),
        };
        self.work.spent(watch);
        delta
    }

    /// Takes rows of a port; gives those that it passes on at once.
    pub(super) fn push(&mut self, port: usize, delta: &Delta) -> Result<PassedOn> {
        let watch = NodeWork::watch(delta.rows());
        let (batch, weights) = (&delta.batch, delta.weights.as_ref());
        let takes_back = || weights.is_some_and(|weights| weights.values().iter().any(|w| *w < 0));
        let mut passed_on: PassedOn = Box::new(std::iter::empty());
        match &mut self.operator {
            Operator::Running(operator, _) => operator.push(batch, weights)?,
            Operator::PerKey(operator) => operator.push(port, delta)?,
            Operator::Join(operator) => operator.push(port, delta),
            Operator::Union(schema) => {
                let batch = with_schema(batch, schema)?;
                let delta = Delta { batch, weights: delta.weights.clone() };
                passed_on = Box::new(std::iter::once(Ok(delta)));
            }
            Operator::Window(..) | Operator::Buffer(_) | Operator::Assign(..) if takes_back() => {
                return Err(Error::internal("a row of a window is taken back"));
            }
            Operator::Window(operator, _) => operator.push(batch)?,
            Operator::Buffer(operator) => operator.push(batch)?,
            Operator::Assign(windowing, passed) => {
                passed_on = Box::new(assigned(batch, windowing, *passed)?);
            }
        }
        self.work.took(delta.rows());
        self.work.spent(watch);
        Ok(passed_on)
    }

    /// Closes what this watermark closes, or a part of it; `measures`: it is the end of the epoch, and
    /// not of a piece of a write.
    pub(super) fn close(
        &mut self,
        watermark: Watermark,
        out: &mut Vec<Delta>,
        measures: bool,
    ) -> Result<Closing> {
        let watch = measures.then(Stopwatch::start);
        let closing = self.operator.close(watermark, out);
        self.work.spent(watch);
        closing
    }

    /// What an epoch has changed in results that are kept up to date.
    pub(super) fn changes(&mut self) -> Result<Option<Delta>> {
        let watch = Some(Stopwatch::start());
        let changes = self.operator.changes();
        self.work.spent(watch);
        changes
    }

    /// Bytes and rows of its state.
    pub(super) fn size(&self) -> (usize, usize) {
        let emitted = self.above.as_ref().and_then(|above| above.emitted.as_ref());
        let (bytes, rows) = self.operator.size();
        (bytes + emitted.map_or(0, EmittedRows::size), rows)
    }
}

/// Rows that an operator passes on as they come.
pub(super) type PassedOn = Box<dyn Iterator<Item = Result<Delta>> + Send>;

/// What the plan of an operator is asked.
pub(super) enum Asked {
    Keys(Question),
    Rows(JoinQuestion),
}
