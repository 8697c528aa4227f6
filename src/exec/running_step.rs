//! A step of a running pipeline: an operator, what its plan answers, and the fragment on top of it.

use std::sync::Arc;

use datafusion::execution::context::SessionState;
use tokio_util::sync::CancellationToken;

use super::above::Above;
use super::answering::{Answering, Answers};
use super::map::Tables;
use super::node_figures::NodeWork;
use super::operators::{Columns, operator_at};
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::operators::emitted::EmittedRows;
use crate::operators::{Closing, Operator, PassedOn, Question};
use crate::plan::{Frontier, Pipeline};
use crate::state::{Delta, StateTable};
use crate::time::Watermark;

/// The ports of later steps that take the rows of a source or a step; none: they go out.
pub(super) type Takers = Arc<[(usize, usize)]>;

/// An operator and what takes its changes on.
pub(super) struct RunningStep {
    /// As EXPLAIN says it.
    pub(super) name: Arc<str>,
    pub(super) operator: Box<dyn Operator>,
    columns: Columns,
    /// Of an operator that keeps rows by key: what answers for the keys.
    pub(super) answering: Option<Answering>,
    frontier: Frontier,
    /// How far what has come to each port is complete.
    pub(super) passed: Vec<Watermark>,
    /// None: nothing is to be done.
    pub(super) above: Option<Above>,
    pub(super) to: Takers,
    pub(super) work: NodeWork,
}

impl RunningStep {
    /// The step at this place, without state; `passed`: how far what comes to each port is complete.
    pub(super) async fn new(
        pipeline: &Pipeline,
        at: usize,
        passed: Vec<Watermark>,
        to: Takers,
        state: &Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<RunningStep> {
        let plan = &pipeline.steps[at];
        let schema =
            if to.is_empty() { &pipeline.schema } else { plan.above.plan.schema().inner() };
        let above = if plan.above.is_identity {
            None
        } else {
            Some(Above::new(plan, Arc::clone(schema), state, tables).await?)
        };
        let answering = match plan.operator.asks() {
            Some(keyed) => Some(Answering::new(&keyed.plan, keyed.ports.len(), state).await?),
            None => None,
        };
        let watermark = passed.iter().copied().min().unwrap_or(Watermark::NONE);
        let (mut operator, columns) = operator_at(pipeline, at, watermark)?;
        if let Some(ttl) = plan.ttl_ms
            && !operator.forget_after(ttl.saturating_mul(1_000))
        {
            return Err(Error::internal("an operator that does not forget keys"));
        }
        let (frontier, work) = (plan.frontier, NodeWork::default());
        let name = super::explain::operator(pipeline, at).into();
        Ok(RunningStep { name, operator, columns, answering, frontier, passed, above, to, work })
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
        let delta = Delta { batch: self.columns.of(delta.batch)?, weights: delta.weights };
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
    pub(super) fn question(&mut self, closed: Option<Watermark>) -> Result<Option<Question>> {
        if self.answering.is_none() {
            return Ok(None);
        }
        let watch = Some(Stopwatch::start());
        let question = match closed {
            Some(watermark) => self.operator.due(watermark),
            None => self.operator.ask(),
        };
        self.work.spent(watch);
        question
    }

    /// Asks its plan.
    pub(super) fn ask(&self, question: &Question) -> Result<Answers> {
        self.answering()?.ask(question)
    }

    fn answering(&self) -> Result<&Answering> {
        let none = || Error::internal("a question to an operator that has no plan");
        self.answering.as_ref().ok_or_else(none)
    }

    /// All of an answer.
    pub(super) async fn answer(
        &mut self,
        answers: Answers,
        stop: &CancellationToken,
    ) -> Result<Delta> {
        let watch = Some(Stopwatch::start());
        let rows = self.answering()?.all(answers, stop).await?;
        let delta = self.operator.answer(rows);
        self.work.spent(watch);
        delta
    }

    /// Takes rows of a port; gives those that it passes on at once.
    pub(super) fn push(&mut self, port: usize, delta: &Delta) -> Result<PassedOn> {
        let watch = NodeWork::watch(delta.rows());
        let passed_on = self.operator.push(port, delta)?;
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

    /// What is only known of the epoch as a whole, or a part of it.
    pub(super) fn settle(&mut self, out: &mut Vec<Delta>) -> Result<Closing> {
        let watch = Some(Stopwatch::start());
        let closing = self.operator.settle(&self.passed, out);
        self.work.spent(watch);
        closing
    }

    /// Bytes and rows of its state.
    pub(super) fn size(&self) -> (usize, usize) {
        let emitted = self.above.as_ref().and_then(|above| above.emitted.as_ref());
        let (bytes, rows) = self.operator.state_size();
        (bytes + emitted.map_or(0, EmittedRows::size), rows)
    }
}
