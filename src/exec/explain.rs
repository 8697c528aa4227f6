//! A pipeline in words, for EXPLAIN.

use crate::catalog::Emission;
use crate::operators::{TopSpec, Windowing};
use crate::plan::window::describe;
use crate::plan::{Pipeline, SourcePlan, Stateful};
use crate::state::{Numbering, Wanted};

/// A line of EXPLAIN.
#[derive(Debug, Clone)]
pub struct ExplainedLine {
    /// The line.
    pub text: String,
    /// The source or operator that it names, by its place among the
    /// [figures](super::runner::Runner::nodes).
    pub node: Option<usize>,
}

impl ExplainedLine {
    pub(super) fn text(text: String) -> ExplainedLine {
        ExplainedLine { text, node: None }
    }

    pub(super) fn node(text: String, node: usize) -> ExplainedLine {
        ExplainedLine { text, node: Some(node) }
    }
}

fn emit(emission: Emission) -> &'static str {
    match emission {
        Emission::OnClose => "emit on window close",
        Emission::OnChange => "emit changes",
    }
}

/// One line on a query without operators.
pub fn stateless(pipeline: &Pipeline) -> String {
    format!("stateless, {}", emit(pipeline.emission))
}

/// One line on the operator of a step.
pub fn operator(pipeline: &Pipeline, at: usize) -> String {
    let emit = emit(pipeline.emission);
    let input = || pipeline.step_input(at, 0);
    let windows = |windowing: &Windowing| {
        describe(&windowing.spec, input().field(windowing.time).data_type())
    };
    match &pipeline.steps[at].operator {
        Stateful::Assign { windowing } => format!("WindowAssign: {}, {emit}", windows(windowing)),
        Stateful::Buffer { windowing } => format!("WindowBuffer: {}, {emit}", windows(windowing)),
        Stateful::Aggregate { spec, .. } => {
            let calls: Vec<&str> = spec.aggregates.iter().map(|call| call.expr.name()).collect();
            let what = match &spec.window {
                Some(window) => format!("WindowAggregate: {} (slices)", windows(window)),
                None => "RunningAggregate".to_owned(),
            };
            format!("{what}, keys={}, aggregates=[{}], {emit}", spec.keys.len(), calls.join(", "))
        }
        Stateful::Session { spec } => {
            format!("SessionWindows: keys={}, {emit}", input().fields().len() - spec.width)
        }
        Stateful::Union { .. } if pipeline.steps[at].inputs.len() == 1 => "Shared".to_owned(),
        Stateful::Union { .. } => "Union".to_owned(),
        Stateful::Join(plan) => format!("InnerJoin, keys={}, {emit}", plan.key),
        Stateful::AppendJoin { asked, spec, .. } => {
            let kind = spec.kind.to_string().to_uppercase();
            let ends = if spec.bounds.is_some() { ", bounded in event time" } else { "" };
            format!("AppendJoin: {kind}, keys={}{ends}, {emit}", asked.key)
        }
        Stateful::Over { asked, spec } => {
            let waits = if spec.ahead.counts() { ", waits for rows ahead" } else { "" };
            let keeps = if spec.back.is_none() { ", keeps all rows" } else { "" };
            format!("OverEventTime: keys={}{waits}{keeps}, {emit}", asked.key)
        }
        Stateful::Top(spec) => format!("Top: {}, {emit}", first_rows(spec)),
        Stateful::Temporal(spec) => format!("TemporalFilter: {spec}, {emit}"),
        Stateful::PerKey(plan) => match plan.closes {
            Some(_) => format!("PerWindow, keys={}, {emit}", plan.key),
            None => format!("PerKey, keys={}, {emit}", plan.key),
        },
    }
}

/// Which rows, and whether others are kept.
fn first_rows(spec: &TopSpec) -> String {
    let Wanted { numbering, skip, count, keeps_rest } = spec.wanted;
    let what = match numbering {
        Numbering::Rows => "",
        Numbering::Rank => "rank ",
        Numbering::DenseRank => "dense rank ",
    };
    let per = if spec.keys.is_empty() { "" } else { " per key" };
    let behind = if skip == 0 { String::new() } else { format!(" behind {skip}") };
    let keeps = if keeps_rest { ", keeps all rows" } else { "" };
    let numbers = if spec.rank.as_ref().is_some_and(|r| r.is_read) { ", numbered" } else { "" };
    let count = if count == usize::MAX { "all".to_owned() } else { count.to_string() };
    format!("{what}{count}{behind}{per}, keys={}{numbers}{keeps}", spec.keys.len())
}

/// One line on a source.
pub fn source(source: &SourcePlan) -> String {
    let relation = &source.scan.relation;
    let columns: Vec<&str> =
        source.scan.columns.iter().map(|at| relation.columns[*at].name.as_str()).collect();
    format!("Source: {} {} [{}]", relation.kind_name(), relation.name, columns.join(", "))
}
