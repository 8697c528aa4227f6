//! A pipeline in words, for EXPLAIN.

use crate::catalog::Emission;
use crate::operators::Windowing;
use crate::plan::window::describe;
use crate::plan::{Pipeline, Stateful};

/// One line on the stateful operator.
pub fn operator(pipeline: &Pipeline) -> String {
    let emit = match pipeline.emission {
        Emission::OnClose => "emit on window close",
        Emission::OnChange => "emit changes",
    };
    let input = pipeline.below.plan.schema();
    let windows =
        |windowing: &Windowing| describe(&windowing.spec, input.field(windowing.time).data_type());
    match &pipeline.stateful {
        Stateful::Nothing => format!("stateless, {emit}"),
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
