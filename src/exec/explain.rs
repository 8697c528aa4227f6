//! A pipeline in words, for EXPLAIN.

use crate::catalog::Emission;
use crate::operators::Windowing;
use datafusion::common::DFSchema;

use crate::plan::window::describe;
use crate::plan::{Pipeline, Stateful};

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

/// One line on a stateful operator over these columns.
pub fn operator(operator: &Stateful, input: &DFSchema, emission: Emission) -> String {
    let emit = emit(emission);
    let windows =
        |windowing: &Windowing| describe(&windowing.spec, input.field(windowing.time).data_type());
    match operator {
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
    }
}

/// One line on the source.
pub fn source(pipeline: &Pipeline) -> String {
    let relation = &pipeline.source.relation;
    let columns: Vec<&str> =
        pipeline.source.columns.iter().map(|at| relation.columns[*at].name.as_str()).collect();
    format!("Source: {} {} [{}]", relation.kind_name(), relation.name, columns.join(", "))
}
