//! What a runner tells of itself: EXPLAIN's tree, and what each source and operator has done.

use std::sync::Arc;

use arrow::datatypes::TimeUnit;

use super::Runner;
use crate::exec::explain::ExplainedLine;
use crate::exec::node_figures::NodeFigures;
use crate::exec::running_source::RunningSource;
use crate::exec::running_step::RunningStep;
use crate::plan::{Giver, Stateful};
use crate::state::StateTable;
use crate::time::{Watermark, micros_of_ticks};

impl Runner {
    /// Lines that say what runs, for EXPLAIN: a tree, in which what gives rows stands under what takes
    /// them.
    pub fn explain(&self) -> Vec<ExplainedLine> {
        let mut lines = Vec::new();
        let last = match self.steps.len().checked_sub(1) {
            Some(step) => Giver::Step(step),
            None => {
                lines.push(ExplainedLine::text(crate::exec::explain::stateless(&self.pipeline)));
                Giver::Source(0)
            }
        };
        self.explain_giver(last, 0, &mut lines);
        lines
    }

    /// A step whose rows several take is told where the first of them stands.
    fn explain_giver(&self, giver: Giver, depth: usize, lines: &mut Vec<ExplainedLine>) {
        let indent = "  ".repeat(depth);
        let plan = |title: &str, text: &str, lines: &mut Vec<ExplainedLine>| {
            let further = &title[..title.len() - title.trim_start().len()];
            lines.push(ExplainedLine::text(format!("{indent}{title}")));
            let text = text.lines().map(|line| format!("{indent}{further}  {line}"));
            lines.extend(text.map(ExplainedLine::text));
        };
        match giver {
            Giver::Source(at) => {
                let source = &self.sources[at];
                if !source.plan.below.is_identity {
                    plan("below", &source.below.explain(), lines);
                }
                lines.push(ExplainedLine::node(format!("{indent}{}", source.name), at));
            }
            Giver::Step(at) => {
                let step = &self.steps[at];
                if let Some(above) = &step.above {
                    plan("above", &above.fragment.explain(), lines);
                }
                if let Some(shared) = self.shared_by(at) {
                    let node = self.sources.len() + shared;
                    if !lines.iter().any(|line| line.node == Some(node)) {
                        return self.explain_giver(Giver::Step(shared), depth, lines);
                    }
                    let name = &self.steps[shared].name;
                    lines.push(ExplainedLine::text(format!("{indent}{name}, the same as above")));
                    return;
                }
                let node = self.sources.len() + at;
                lines.push(ExplainedLine::node(format!("{indent}{}", step.name), node));
                if let Some(answering) = &step.answering {
                    plan("  asks", &answering.explain(), lines);
                }
                let inputs = &self.pipeline.steps[at].inputs;
                inputs.iter().for_each(|input| self.explain_giver(*input, depth + 1, lines));
            }
        }
    }

    /// Where the part is computed whose rows this step hands on to one of those that take them.
    fn shared_by(&self, at: usize) -> Option<usize> {
        let plan = &self.pipeline.steps[at];
        match (&plan.operator, plan.inputs.as_slice()) {
            (Stateful::Union { .. }, [Giver::Step(shared)]) => Some(*shared),
            _ => None,
        }
    }

    /// What each source and then each operator has done since the query runs here.
    pub fn nodes(&self) -> Vec<NodeFigures> {
        let source = |at: usize, source: &RunningSource| {
            let size = source.kept.as_ref().map_or((0, 0), |kept| (kept.size(), kept.rows()));
            let name = Arc::clone(&source.name);
            NodeFigures::new(name, &source.work, size, self.micros(Giver::Source(at)))
        };
        let step = |at: usize, step: &RunningStep| {
            let name = Arc::clone(&step.name);
            NodeFigures::new(name, &step.work, step.size(), self.micros(Giver::Step(at)))
        };
        let sources = self.sources.iter().enumerate().map(|(at, own)| source(at, own));
        sources.chain(self.steps.iter().enumerate().map(|(at, own)| step(at, own))).collect()
    }

    /// How far what comes to this is complete, microseconds since 1970.
    fn micros(&self, giver: Giver) -> Option<i64> {
        let (mark, unit) = match giver {
            Giver::Source(at) => (self.sources[at].watermark, self.sources[at].time_unit),
            Giver::Step(at) => (self.steps[at].input(), self.unit_of(giver)),
        };
        let is_finite = ![Watermark::NONE, Watermark::INFINITY].contains(&mark);
        unit.filter(|_| is_finite).map(|unit| micros_of_ticks(mark.0, unit))
    }

    /// In which unit the event times of this are.
    pub(super) fn unit_of(&self, giver: Giver) -> Option<TimeUnit> {
        match giver {
            Giver::Source(at) => self.sources[at].time_unit,
            Giver::Step(at) => {
                self.pipeline.steps[at].inputs.iter().find_map(|input| self.unit_of(*input))
            }
        }
    }
}
