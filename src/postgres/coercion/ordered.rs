//! ORDER BY in an aggregate whose result does not depend on the order of its rows says nothing
//! (Postgres manual, 4.2.7), and its accumulator has no use for one.

use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::AggregateFunction;

/// Aggregates that are the same in every order.
const IN_ANY_ORDER: [&str; 21] = [
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "variance",
];

/// The call without an ORDER BY that has no effect.
pub fn without_effect(mut call: AggregateFunction) -> Transformed<AggregateFunction> {
    let is_changed = !call.params.order_by.is_empty() && IN_ANY_ORDER.contains(&call.func.name());
    if is_changed {
        call.params.order_by = Vec::new();
    }
    Transformed::new_transformed(call, is_changed)
}
