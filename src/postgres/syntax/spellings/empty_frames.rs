//! Frames that end before they begin (`ROWS BETWEEN 1 PRECEDING AND 3 PRECEDING`): there are no rows in them.
//! DataFusion refuses them.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Value, WindowFrame, WindowFrameBound, WindowType,
};

use super::pieces::{case_when, plain_name};

/// Functions that look at the partition, whatever the frame is.
const OF_PARTITION: [&str; 8] =
    ["cume_dist", "dense_rank", "lag", "lead", "ntile", "percent_rank", "rank", "row_number"];

/// Functions that give a value of the frame.
const OF_FRAME: [&str; 3] = ["first_value", "last_value", "nth_value"];

/// The call over no rows; None: there are some.
pub(super) fn over_nothing(expr: &Expr) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let Some(WindowType::WindowSpec(spec)) = &call.over else { return None };
    if !spec.window_frame.as_ref().is_some_and(is_empty) {
        return None;
    }
    let mut whole: Function = call.clone();
    if let Some(WindowType::WindowSpec(spec)) = &mut whole.over {
        spec.window_frame = None;
    }
    let (name, never) = (plain_name(&call.name)?, || Expr::value(Value::Boolean(false)));
    Some(if OF_PARTITION.contains(&name.as_str()) {
        Expr::Function(whole)
    } else if OF_FRAME.contains(&name.as_str()) {
        case_when(never(), Expr::Function(whole), Expr::value(Value::Null))
    } else {
        whole.filter = Some(Box::new(never()));
        Expr::Function(whole)
    })
}

fn is_empty(frame: &WindowFrame) -> bool {
    use WindowFrameBound::{Following, Preceding};
    match (&frame.start_bound, &frame.end_bound) {
        (Preceding(Some(start)), Some(Preceding(Some(end)))) => is_less(start, end),
        (Following(Some(start)), Some(Following(Some(end)))) => is_less(end, start),
        _ => false,
    }
}

fn is_less(one: &Expr, other: &Expr) -> bool {
    number(one).zip(number(other)).is_some_and(|(one, other)| one < other)
}

/// A bound that is written as a number; others are looked at when they are planned.
fn number(bound: &Expr) -> Option<u64> {
    match bound {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
