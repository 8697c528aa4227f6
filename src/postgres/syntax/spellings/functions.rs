//! Functions that have another name here, or are made of others.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    TimezoneInfo, Value,
};

use super::arrays::filled;
use super::empty_frames::over_nothing;
use super::pieces::{
    binary, case_when, cast, function_named, nested, number, plain_name, text_of, text_value,
};
use crate::error::{Error, Result, SqlState, missing_function};
use crate::postgres::functions::{MODE_OF_SORTED, PERCENTILE_CONT, PERCENTILE_DISC, is_scalar};
use crate::sql::function_call as call;

/// Functions that have another name here, with the same arguments.
const NAMES: [(&str, &str); 4] = [
    ("clock_timestamp", "now"),
    ("statement_timestamp", "now"),
    ("transaction_timestamp", "now"),
    ("proctime", "now"),
];

/// Functions that are made of others.
const MADE_OF_OTHERS: [&str; 14] = [
    "age",
    "array_fill",
    "gen_random_uuid",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "localtime",
    "localtimestamp",
    "mod",
    "mode",
    "num_nonnulls",
    "num_nulls",
    "percentile_disc",
];

/// Whether there is a function of that name here.
pub(crate) fn is_function(name: &str) -> bool {
    MADE_OF_OTHERS.contains(&name) || NAMES.iter().any(|(postgres, _)| *postgres == name)
}

/// What a call is written as here; None: as it is.
///
/// # Errors
///
/// As [`check_percentile`], [`interval_of_parts`] and [`check_json`] say.
pub(crate) fn called(expr: &mut Expr) -> Result<Option<Expr>> {
    check_aggregate(expr)?;
    check_percentile(expr)?;
    if let Some(call) = over_nothing(expr) {
        return Ok(Some(call));
    }
    if let Expr::Function(call) = &*expr
        && plain_name(&call.name).as_deref() == Some(MAKE_INTERVAL)
    {
        return interval_of_parts(call);
    }
    match function_named(expr) {
        Some((name, arguments)) if name == "array_fill" => filled(arguments),
        Some((name, _)) => {
            check_json(&name)?;
            Ok(function(expr))
        }
        None => Ok(None),
    }
}

const MAKE_INTERVAL: &str = "make_interval";

/// `make_interval(hours => 3)` with all of its arguments, in their order.
///
/// # Errors
/// 42883 for a name that none of them has.
fn interval_of_parts(written: &Function) -> Result<Option<Expr>> {
    const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let list = match &written.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let mut all = vec![number("0"); PARTS.len()];
    for (at, argument) in list.iter().enumerate() {
        let (at, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(at), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                let is_name = |part: &&str| name.value.eq_ignore_ascii_case(part);
                (PARTS.iter().position(is_name), value)
            }
            _ => return Ok(None),
        };
        match at.and_then(|at| all.get_mut(at)) {
            Some(place) => *place = value.clone(),
            None => return Err(missing_function(MAKE_INTERVAL, Some(&argument.to_string()))),
        }
    }
    Ok((list.len() < PARTS.len() || list.iter().any(is_named)).then(|| call(MAKE_INTERVAL, all)))
}

/// `lag(v, n, d)` with a default that is computed: whether there is such a row another one says.
fn with_default(expr: &Expr, arguments: Vec<Expr>) -> Option<Expr> {
    let [value, offset, default] = <[Expr; 3]>::try_from(arguments).ok()?;
    let Expr::Function(written) = expr else { return None };
    if matches!(default, Expr::Value(_)) || written.over.is_none() {
        return None;
    }
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let over = |value: Expr| {
        let mut call = written.clone();
        if let FunctionArguments::List(list) = &mut call.args {
            list.args = vec![argument(value), argument(offset.clone())];
        }
        Expr::Function(call)
    };
    let is_outside = Expr::IsNull(Box::new(over(Expr::value(Value::Boolean(true)))));
    Some(nested(case_when(is_outside, default, over(value))))
}

fn is_named(argument: &FunctionArg) -> bool {
    !matches!(argument, FunctionArg::Unnamed(_))
}

fn function(expr: &mut Expr) -> Option<Expr> {
    let (name, arguments) = function_named(expr)?;
    let mut arguments = arguments.into_iter();
    match (name.as_str(), arguments.len()) {
        ("mod", 2) => {
            let (left, right) = (arguments.next()?, arguments.next()?);
            Some(nested(binary(nested(left), BinaryOperator::Modulo, nested(right))))
        }
        ("age", 1) => Some(call("age", vec![call("current_date", vec![]), arguments.next()?])),
        // The text becomes an array where the other one is.
        ("coalesce", 2) => {
            let (value, other) = (arguments.next()?, arguments.next()?);
            let is_array = text_of(&other).is_some_and(|text| text.trim_start().starts_with('{'));
            let is_some = Expr::IsNotNull(Box::new(nested(value.clone())));
            is_array.then(|| case_when(is_some, value, other))
        }
        ("num_nonnulls", 1..) => counted(arguments, "0", "1"),
        ("num_nulls", 1..) => counted(arguments, "1", "0"),
        ("json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg", _) => {
            aggregate_of_json(expr, &name, arguments.collect())
        }
        ("log", 1) => Some(call("log10", arguments.collect())),
        ("gen_random_uuid", 0) => Some(cast(call("uuid", vec![]), DataType::Uuid)),
        ("date", 1) => Some(cast(arguments.next()?, DataType::Date)),
        ("localtimestamp" | "localtime" | "current_timestamp", _) => {
            function_of_time(&name, arguments.collect()).filter(|rewritten| rewritten != expr)
        }
        ("lag" | "lead", 3) => with_default(expr, arguments.collect()),
        ("ntile", 1) => Some(cast(expr.clone(), DataType::Int(None))),
        ("percentile_disc" | "percentile_cont", 1) => percentile(expr, &name, arguments.next()?),
        ("mode", 0) => Some(call(MODE_OF_SORTED, vec![values_in_order(expr, None)?])),
        ("string_agg", 2) => separated(expr, arguments.next()?, arguments.next()?),
        (name, 1) if json_set(name).is_some() => rows_of_json(name, arguments.collect()),
        (name, _) => {
            let (_, here) = NAMES.iter().find(|(postgres, _)| *postgres == name)?;
            if let Expr::Function(call) = expr {
                call.name = ObjectName::from(vec![Ident::new(*here)]);
            }
            None
        }
    }
}

/// The family and the rest of the name, of a function that gives the parts of a JSON value as rows.
pub(super) fn json_set(name: &str) -> Option<(&str, &str)> {
    let (family, set) = name.split_once('_')?;
    let is_set = ["array_elements", "array_elements_text", "object_keys", "each", "each_text"]
        .contains(&set);
    (matches!(family, "json" | "jsonb") && is_set).then_some((family, set))
}

/// The rows in a SELECT list: an array that UNNEST takes apart.
fn rows_of_json(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let (family, set) = json_set(name)?;
    let array = match set {
        "array_elements" => "elements",
        "array_elements_text" => "elements_text",
        "object_keys" => "keys",
        "each" => "members",
        _ => "members_text",
    };
    let rows = call("unnest", vec![call(&format!("{family}_{array}"), arguments)]);
    // UNNEST forgets that the elements are JSON.
    let is_of_json = set == "array_elements";
    Some(if is_of_json { call(&format!("{family}_as_is"), vec![rows]) } else { rows })
}

/// `jsonb_agg(x)` is made of an array of what each row gives, as JSON.
fn aggregate_of_json(expr: &Expr, name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let (family, aggregate) = name.split_once('_')?;
    let (whole, part, count) = match aggregate {
        "agg" => ("values", "json_value", 1),
        _ => ("members", "json_member", 2),
    };
    let Expr::Function(written) = expr else { return None };
    let FunctionArguments::List(list) = &written.args else { return None };
    if arguments.len() != count {
        return None;
    }
    if list.duplicate_treatment.is_some() && count == 1 {
        // What is DISTINCT is in the order of the values, not in that of their texts.
        return Some(call(&format!("to_{family}"), vec![renamed(expr, "array_agg")]));
    }
    let mut collected = written.clone();
    collected.name = ObjectName::from(vec![Ident::new("array_agg")]);
    if let FunctionArguments::List(list) = &mut collected.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(call(part, arguments)))];
    }
    Some(call(&format!("{family}_of_{whole}"), vec![Expr::Function(collected)]))
}

/// 0A000 for functions of JSON that are not built.
pub(super) fn check_json(name: &str) -> Result<()> {
    let hint = match name.split_once('_') {
        Some((
            "json" | "jsonb",
            "populate_record" | "populate_recordset" | "to_record" | "to_recordset",
        )) => "Use FROM jsonb_to_record(…) AS r (a INT, b TEXT).",
        Some(("jsonb", path)) if path.starts_with("path_") => {
            "Take the value apart with -> and #>, or with jsonb_array_elements."
        }
        Some(("jsonb", "set_lax")) => "Use jsonb_set, with coalesce for what may be NULL.",
        _ => return Ok(()),
    };
    Err(Error::unsupported(format!("{name} is not supported")).hint(hint))
}

/// 42809 for what only aggregates have, and for `count()`.
fn check_aggregate(expr: &Expr) -> Result<()> {
    let Expr::Function(call) = expr else { return Ok(()) };
    let Some(name) = plain_name(&call.name) else { return Ok(()) };
    let refused = |what: String| Err(Error::new(SqlState::WrongObjectType, what));
    let list = match &call.args {
        FunctionArguments::List(list) => list,
        FunctionArguments::None | FunctionArguments::Subquery(_) => return Ok(()),
    };
    if name == "count" && list.args.is_empty() {
        let what = "count(*) must be used to call a parameterless aggregate function";
        return refused(what.to_owned());
    }
    let specified = match (&call.filter, list.duplicate_treatment) {
        (Some(_), _) => "FILTER",
        (None, Some(DuplicateTreatment::Distinct)) => "DISTINCT",
        _ => return Ok(()),
    };
    if is_scalar(&name) {
        return refused(format!("{specified} specified, but {name} is not an aggregate function"));
    }
    Ok(())
}

/// 42809 without WITHIN GROUP, 22003 for a share that is written and is none.
fn check_percentile(expr: &Expr) -> Result<()> {
    let (Expr::Function(written), Some((name, arguments))) = (expr, function_named(expr)) else {
        return Ok(());
    };
    let example = match name.as_str() {
        "percentile_disc" => "percentile_disc(0.5)",
        "mode" => "mode()",
        _ => return Ok(()),
    };
    if written.within_group.is_empty() {
        let what = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
        return Err(Error::new(SqlState::WrongObjectType, what)
            .hint(format!("Write {example} WITHIN GROUP (ORDER BY column).")));
    }
    let share = arguments.first().and_then(|share| share.to_string().parse::<f64>().ok());
    match share {
        Some(share) if !(0.0..=1.0).contains(&share) => Err(Error::new(
            SqlState::OutOfRange,
            format!("percentile value {share} is not between 0 and 1"),
        )),
        _ => Ok(()),
    }
}

/// `percentile_disc(f) WITHIN GROUP (ORDER BY v)`: of the values in their order the first one of which
/// a share of f is not behind it. DataFusion has `percentile_cont` of a number.
fn percentile(expr: &Expr, name: &str, share: Expr) -> Option<Expr> {
    if name == "percentile_disc" {
        return Some(call(PERCENTILE_DISC, vec![values_in_order(expr, None)?, share]));
    }
    let is_number =
        matches!(&share, Expr::Value(share) if matches!(share.value, Value::Number(..)));
    let doubles = || values_in_order(expr, Some(DataType::DoublePrecision));
    (!is_number).then(|| Some(call(PERCENTILE_CONT, vec![doubles()?, share]))).flatten()
}

/// The values that an ordered-set aggregate is over, as an array of a type.
fn values_in_order(expr: &Expr, of: Option<DataType>) -> Option<Expr> {
    let Expr::Function(written) = expr else { return None };
    let [by] = &written.within_group[..] else { return None };
    let order = vec![FunctionArgumentClause::OrderBy(vec![by.clone()])];
    let value = match of {
        Some(of) => cast(nested(by.expr.clone()), of),
        None => by.expr.clone(),
    };
    Some(aggregate(written, "array_agg", vec![value], order, &by.expr))
}

/// `string_agg(v, d)` with a delimiter that is no constant: each text behind its delimiter, without the
/// first one's.
fn separated(expr: &Expr, value: Expr, delimiter: Expr) -> Option<Expr> {
    let Expr::Function(written) = expr else { return None };
    let FunctionArguments::List(list) = &written.args else { return None };
    let constant = match &delimiter {
        Expr::Cast { expr, .. } => expr,
        other => other,
    };
    if text_of(constant).is_some() || list.duplicate_treatment.is_some() {
        return None;
    }
    let delimiter = call("coalesce", vec![delimiter, text_value("")]);
    let both = binary(delimiter.clone(), BinaryOperator::StringConcat, nested(value.clone()));
    let of = |name, args| aggregate(written, name, args, list.clauses.clone(), &value);
    let whole = of("string_agg", vec![both, text_value("")]);
    let first = call("array_element", vec![of("array_agg", vec![delimiter]), number("1")]);
    let behind = binary(call("character_length", vec![first]), BinaryOperator::Plus, number("1"));
    Some(call("substr", vec![whole, behind]))
}

/// An aggregate of these arguments over the rows of another one where a value is not NULL.
fn aggregate(
    of: &Function,
    name: &str,
    args: Vec<Expr>,
    clauses: Vec<FunctionArgumentClause>,
    value: &Expr,
) -> Expr {
    let is_value = Expr::IsNotNull(Box::new(nested(value.clone())));
    let counts = match &of.filter {
        Some(filter) => binary(nested((**filter).clone()), BinaryOperator::And, is_value),
        None => is_value,
    };
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(argument).collect(),
            clauses,
        }),
        within_group: Vec::new(),
        filter: Some(Box::new(counts)),
        ..of.clone()
    })
}

fn function_of_time(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let (count, mut arguments) = (arguments.len(), arguments.into_iter());
    match (name, count) {
        ("localtimestamp", 0) => Some(local_moment()),
        ("localtime", 0) => {
            Some(cast(call("now", vec![]), DataType::Time(None, TimezoneInfo::None)))
        }
        // With so many digits of a second.
        ("current_timestamp", 1) => Some(cast(
            call("now", vec![]),
            DataType::Timestamp(digits(&arguments.next()?), TimezoneInfo::Tz),
        )),
        ("localtimestamp", 1) => Some(cast(
            call("now", vec![]),
            DataType::Timestamp(digits(&arguments.next()?), TimezoneInfo::None),
        )),
        _ => None,
    }
}

fn digits(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The sum of `CASE WHEN x IS NULL THEN null ELSE other END`.
fn counted(arguments: impl Iterator<Item = Expr>, null: &str, other: &str) -> Option<Expr> {
    let one = |x: Expr| case_when(Expr::IsNull(Box::new(nested(x))), number(null), number(other));
    let sum = arguments.map(one).reduce(|sum, next| binary(sum, BinaryOperator::Plus, next))?;
    Some(cast(nested(sum), DataType::Int(None)))
}

/// The same call of another function.
fn renamed(call: &Expr, name: &str) -> Expr {
    let mut call = call.clone();
    if let Expr::Function(function) = &mut call {
        function.name = ObjectName::from(vec![Ident::new(name)]);
    }
    call
}

/// `localtimestamp`.
pub(crate) fn local_moment() -> Expr {
    cast(call("now", vec![]), DataType::Timestamp(None, TimezoneInfo::None))
}
