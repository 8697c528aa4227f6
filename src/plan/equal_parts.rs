//! Parts of a query that are equal are computed once: a WITH query that is named twice, an
//! aggregate that is joined with the greatest of its rows.
//!
//! [`super::cut`] makes a tree, and says of its steps which part of the logical plan they answer.
//! Steps that answer equal parts, out of equal sources, are one here. What it gives goes on to a
//! step for each of those that take it, which has no state and what stood above the part there:
//!
//! ```text
//!                      ┌▶ as it is ─above▶ port 0 ┐
//!  source ▶ aggregate ─┤                          ├ join
//!                      └▶ as it is ─above▶ port 0 │ of another step ▶ port 1
//! ```
//! The largest equal parts are found, so a part of a part is not looked for. (Functions that answer
//! otherwise each time they are asked are in no continuous query.)

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use super::moment;
use super::pipeline::{FragmentPlan, Frontier, Giver, OperatorPlan, SourcePlan, Stateful};
use super::placeholder::placeholder;
use super::stage::fragment_of;
use crate::limits;

/// The sources and the steps, which of equal ones have one; `parts`: what of the plan each step
/// answers, where that is known.
pub(super) fn merged(
    sources: Vec<SourcePlan>,
    steps: Vec<OperatorPlan>,
    parts: Vec<Option<LogicalPlan>>,
) -> (Vec<SourcePlan>, Vec<OperatorPlan>) {
    let tree = Tree { sources, steps, parts };
    let (merged_sources, merged_steps) = tree.merged(&tree.same_steps());
    if merged_steps.len() > limits::QUERY_OPERATORS {
        return (tree.sources, tree.steps);
    }
    (merged_sources, merged_steps)
}

/// Each source and each step gives to one port.
struct Tree {
    sources: Vec<SourcePlan>,
    steps: Vec<OperatorPlan>,
    parts: Vec<Option<LogicalPlan>>,
}

impl Tree {
    /// For each step the first one that it is equal to, if there is one before it.
    fn same_steps(&self) -> Vec<Option<usize>> {
        let mut same = vec![None; self.steps.len()];
        for later in (1..self.steps.len()).rev() {
            for first in 0..later {
                if self.is_same_part(first, later) && self.answers_equally(first, later) {
                    same[later] = Some(first);
                    break;
                }
            }
        }
        same
    }

    fn is_same_part(&self, one: usize, other: usize) -> bool {
        self.parts[one].is_some() && self.parts[one] == self.parts[other]
    }

    /// Whether two steps do the same, and what they take is equal too.
    fn answers_equally(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.steps[one], &self.steps[other]);
        is_only_an_operator(a)
            && is_only_an_operator(b)
            && self.parts[one] == self.parts[other]
            && std::mem::discriminant(&a.operator) == std::mem::discriminant(&b.operator)
            && (a.frontier, a.retracts, a.ttl_ms) == (b.frontier, b.retracts, b.ttl_ms)
            && a.inputs.len() == b.inputs.len()
            && a.inputs.iter().zip(&b.inputs).all(|(a, b)| self.gives_equally(*a, *b))
    }

    fn gives_equally(&self, one: Giver, other: Giver) -> bool {
        match (one, other) {
            (Giver::Source(one), Giver::Source(other)) => self.reads_equally(one, other),
            (Giver::Step(one), Giver::Step(other)) => {
                is_same_fragment(&self.steps[one].above, &self.steps[other].above)
                    && self.answers_equally(one, other)
            }
            _ => false,
        }
    }

    fn reads_equally(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.sources[one], &self.sources[other]);
        a.scan.relation.id == b.scan.relation.id
            && a.scan.columns == b.scan.columns
            && a.lateness == b.lateness
            && is_same_fragment(&a.below, &b.below)
    }

    /// The steps and sources that are left.
    fn merged(&self, same: &[Option<usize>]) -> (Vec<SourcePlan>, Vec<OperatorPlan>) {
        let (is_source_left, is_step_left) = self.left(same);
        let mut left = Left::default();
        for at in 0..self.sources.len() {
            let first =
                (0..at).find(|first| is_source_left[*first] && self.reads_equally(*first, at));
            left.source(&self.sources[at], first, is_source_left[at]);
        }
        for (at, step) in self.steps.iter().enumerate() {
            match same[at] {
                Some(first) if is_step_left[at] => left.equal_step(step, first),
                None if is_step_left[at] => left.step(step, same.contains(&Some(at))),
                _ => left.places.push(None),
            }
        }
        (left.sources, left.steps)
    }

    /// Which sources and steps are not below a step that is one with another.
    fn left(&self, same: &[Option<usize>]) -> (Vec<bool>, Vec<bool>) {
        let mut sources = vec![true; self.sources.len()];
        let mut steps = vec![true; self.steps.len()];
        for at in (0..self.steps.len()).rev() {
            if steps[at] && same[at].is_none() {
                continue;
            }
            for input in &self.steps[at].inputs {
                match *input {
                    Giver::Source(source) => sources[source] = false,
                    Giver::Step(step) => steps[step] = false,
                }
            }
        }
        (sources, steps)
    }
}

/// What is left, as it is put together.
#[derive(Default)]
struct Left {
    sources: Vec<SourcePlan>,
    steps: Vec<OperatorPlan>,
    /// For each source of the tree where it is now.
    read: Vec<usize>,
    /// For each step of the tree, which step gives what it gave, and which one computes it.
    places: Vec<Option<(usize, usize)>>,
}

impl Left {
    fn source(&mut self, source: &SourcePlan, first: Option<usize>, is_left: bool) {
        self.read.push(match first {
            Some(first) => self.read[first],
            None => self.sources.len(),
        });
        if is_left && first.is_none() {
            self.sources.push(source.clone());
        }
    }

    fn step(&mut self, step: &OperatorPlan, is_shared: bool) {
        let mut step = step.clone();
        for input in &mut step.inputs {
            *input = match *input {
                Giver::Source(at) => Giver::Source(self.read[at]),
                Giver::Step(at) => Giver::Step(self.places[at].map_or(at, |place| place.0)),
            };
        }
        let computes = self.steps.len();
        if !is_shared {
            self.steps.push(step);
            self.places.push(Some((computes, computes)));
            return;
        }
        let input = &step.above.input;
        let all = fragment_of(placeholder(input), input, false);
        let above = OperatorPlan { above: all, ..step.clone() };
        self.steps.push(above);
        self.taking(&step, computes);
    }

    /// A step that is equal to one that is there.
    fn equal_step(&mut self, step: &OperatorPlan, first: usize) {
        let computes = self.places[first].map_or(first, |place| place.1);
        self.taking(step, computes);
    }

    /// What takes the rows that are computed there on, as this step did.
    fn taking(&mut self, step: &OperatorPlan, computes: usize) {
        self.places.push(Some((self.steps.len(), computes)));
        self.steps.push(OperatorPlan {
            inputs: vec![Giver::Step(computes)],
            operator: Stateful::Union { schema: Arc::clone(&step.above.input) },
            frontier: Frontier::Input,
            retracts: step.retracts,
            ttl_ms: None,
            above: step.above.clone(),
        });
    }
}

/// Whether what stands above an operator can stand above a step that only hands rows on: what was
/// emitted is kept with the operator whose rows are joined with tables, and what time does to the
/// rows of a closed window is decided there.
fn is_only_an_operator(step: &OperatorPlan) -> bool {
    let keeps_emitted = step.retracts && step.above.has_tables;
    !keeps_emitted && moment::is_read_in(&step.above.plan).is_ok_and(|is_read| !is_read)
}

fn is_same_fragment(one: &FragmentPlan, other: &FragmentPlan) -> bool {
    one.has_tables == other.has_tables && one.input == other.input && one.plan == other.plan
}
