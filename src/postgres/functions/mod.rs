//! Functions that mean what they mean in Postgres, where DataFusion's mean something else or are
//! missing.
//!
//! [`register`] puts them over DataFusion's own in a session; [`analyzer_rules`] are the rewrites
//! that no function can do, for arithmetic is operators. A statement that fails here fails with the
//! SQLSTATE Postgres gives.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::execution::context::SessionContext;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, Volatility};
use datafusion::optimizer::AnalyzerRule;

use super::distinct_counts::DistinctCounts;
use super::routines::sql_function::body_of;
use crate::error::Result;

pub(crate) use advanced::translated;
pub(crate) use array_order::array_order;
pub(crate) use asof::{asof_condition, is_last_value_where, last_value_where};
pub(crate) use cast::cast_of;
pub(crate) use collect::scalar_at;
pub(crate) use forms::{has_forms, settled};
pub(crate) use frames::over_frame;
pub(crate) use intervals::{SIZE as INTERVAL_SIZE, interval_key, interval_size, micros_of};
pub(crate) use json::{as_jsonb, function as json_function, is_as_json, order as json_order};
pub(crate) use made::{TIME_OF_DIGITS, of_day};
pub(crate) use math::shift;
pub(crate) use mode::MODE_OF_SORTED;
pub(crate) use named_rows::NAMED_ROW;
pub(crate) use numeric::{call as numeric_call, of_doubles, replacement as numeric_operator};
pub(crate) use optional::optional;
pub(crate) use percentiles::{PERCENTILE_CONT, PERCENTILE_DISC};
pub(crate) use polymorphic::{
    ArgumentType, Polymorphic, cast as cast_to, depth, met, missing_operator, nested,
};
pub(crate) use precision::{fitted, once, with_blanks, with_blanks_of, without_blanks};
pub(crate) use regex_options::RegexOptions;
pub(crate) use scalar::over_columns;
pub(crate) use session_zone::SessionZone;
pub(crate) use similar::{LIKE_ESCAPE, SIMILAR_TO_ESCAPE, one_sign, similar_to, with_backslashes};
pub(crate) use system_time::system_time;
pub(crate) use time_operators::{sum_or_difference, time_operator};

mod advanced;
mod analyzed;
mod arithmetic;
mod array_order;
mod arrays;
mod asof;
mod bytes;
mod calendar_time;
mod cast;
mod chains;
mod collect;
mod compared;
mod datetime;
mod degrees;
mod digit_pattern;
mod digits;
mod digits_in;
mod distinct;
mod elements;
mod extreme;
mod flat;
mod form_values;
mod format;
mod format_in;
mod forms;
mod frames;
mod intervals;
mod joined;
mod json;
mod kernels;
mod made;
mod marked;
mod matching;
mod math;
mod mode;
mod named_operators;
mod named_rows;
mod numeric;
mod optional;
mod parts;
mod patterns;
mod percentiles;
mod polymorphic;
mod precision;
mod recent;
mod regex_options;
mod scalar;
mod session_zone;
mod shape;
mod shown;
mod similar;
mod spread;
mod strings;
mod system;
mod system_time;
mod text;
mod time_operators;
mod time_units;
mod total;
mod zones;

/// Registers all functions in a session.
///
/// One optimizer rule is replaced: see `postgres/distinct_counts.rs`.
pub fn register(context: &SessionContext) -> Result<()> {
    let counts = DistinctCounts::rule();
    context.remove_optimizer_rule(counts.name());
    context.add_optimizer_rule(counts);
    let state = context.state_ref();
    let mut state = state.write();
    for udaf in aggregates() {
        state.register_udaf(udaf)?;
    }
    let scalars = scalars();
    // With all other names of theirs: a session that is built from this one registers whatever it
    // finds, in any order, and what were left of a function under another name (`datepart`) would
    // come back under ours (`date_part`).
    for udf in &scalars {
        let known = state.udf(udf.name()).map(|known| known.name().to_owned());
        state.deregister_udf(known.as_deref().unwrap_or(udf.name()))?;
    }
    for udf in scalars {
        state.register_udf(udf)?;
    }
    Ok(())
}

/// The rewrites to add to a session; they go after DataFusion's own, since they look at types after
/// coercion.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![Arc::new(session_zone::InSessionZone), Arc::new(arithmetic::CheckedArithmetic)]
}

/// sum and avg; `every`, as the standard calls bool_and; and those that are computed as live
/// queries do it.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let own = [
        AggregateUDF::new_from_impl(total::sum()),
        AggregateUDF::new_from_impl(total::avg()),
        bool_and_udaf().as_ref().clone().with_aliases(["every"]),
        collect::array_agg(),
        joined::string_agg(),
    ];
    own.into_iter().chain(kernels::all()).chain(spread::all()).map(Arc::new).collect()
}

/// The scalar functions.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    let all = [
        text::all(),
        arrays::all(),
        datetime::all(),
        intervals::all(),
        json::all(),
        math::all(),
        parts::all(),
        patterns::all(),
        system::all(),
    ];
    all.into_iter()
        .flatten()
        .chain(forms::functions(
            [
                bytes::forms(),
                degrees::forms(),
                strings::forms(),
                shown::forms(),
                similar::forms(),
                digits::forms(),
                digits_in::forms(),
                datetime::forms(),
                made::forms(),
                named_operators::forms(),
                time_units::forms(),
            ]
            .concat(),
            &["concat", "concat_ws", "format", "overlay"],
        ))
        .chain([
            zones::timezone(),
            asof::asof(),
            marked::marked(),
            mode::mode_of_sorted(),
            system_time(),
            named_rows::named_row(),
        ])
        .chain(percentiles::percentiles())
        .chain(of_arrays().map(polymorphic::Polymorphic::udf))
        .map(Arc::new)
        .collect()
}

/// The functions over arrays of any type.
fn of_arrays() -> impl Iterator<Item = &'static polymorphic::ArrayFunction> {
    elements::ALL.iter().chain(&compared::ALL).chain(&shape::ALL)
}

/// One of them by its name.
pub(crate) fn of_arrays_named(name: &str) -> Option<ScalarUDF> {
    of_arrays().find(|function| function.name == name).map(polymorphic::Polymorphic::udf)
}

/// Whether such a function takes these arguments.
pub(crate) fn meet(name: &str, given: &[ArgumentType]) -> bool {
    of_arrays().any(|function| function.name == name && function.takes(given))
}

/// Whether there is a scalar function of that name, ours or DataFusion's.
pub(crate) fn is_scalar(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let theirs = datafusion::functions::all_default_functions();
        let theirs =
            theirs.into_iter().chain(datafusion::functions_nested::all_default_nested_functions());
        let names = |function: Arc<ScalarUDF>| {
            let aliases = function.aliases().iter().cloned();
            aliases.chain([function.name().to_owned()]).collect::<Vec<_>>()
        };
        scalars().into_iter().chain(theirs).flat_map(names).collect()
    });
    NAMES.contains(name)
}

/// Functions over arrays that can make much more than they read: all others only copy.
const MAKE_MUCH: [&str; 3] = ["array_repeated", "array_to_string", "generate_series"];

/// Functions that are bounded and yet make no more than they read.
const ONLY_JOINS: [&str; 2] = ["concat", "concat_ws"];

/// Whether a function can make much more than it reads.
pub(super) fn can_explode(function: &ScalarUDF) -> bool {
    body_of(function).is_some_and(|body| body.explodes)
        || forms::grows(function) && !ONLY_JOINS.contains(&function.name())
        || function.inner().is::<scalar::Bounded>()
        || patterns::MAKE_MUCH.contains(&function.name())
        || function.inner().is::<Polymorphic>() && MAKE_MUCH.contains(&function.name())
}

/// The name of a function in the expression that gives another value each time it is called
/// (`random()`, `uuid()`). A continuous query must refuse it: reading the log again would give
/// another answer.
pub fn random_function(expr: &Expr) -> Option<String> {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut found = None;
    // The closure never fails.
    let _ = expr.apply(|part| {
        if let Expr::ScalarFunction(call) = part
            && call.func.signature().volatility == Volatility::Volatile
        {
            found = Some(call.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

#[cfg(test)]
mod tests;
