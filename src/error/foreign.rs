//! Errors of arrow and DataFusion in Postgres's words and codes.
//!
//! DataFusion says much of what went wrong in sentences. They are matched here and nowhere else, so
//! that a new version of it breaks one file; what is not matched loses at least the marks of where
//! it came from.

use std::collections::HashSet;

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::panic::overflowed;
use super::{Error, SqlState, nearest, sentences};

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => Self::new(SqlState::DivisionByZero, "division by zero"),
            ArrowError::ArithmeticOverflow(what) => {
                Self::new(SqlState::OutOfRange, "value out of range").detail(what)
            }
            ArrowError::CastError(what) | ArrowError::ParseError(what) => cast_error(&what),
            ArrowError::MemoryError(what) => Self::new(SqlState::OutOfMemory, what),
            ArrowError::InvalidArgumentError(what) => {
                no_room(&what).unwrap_or_else(|| Self::new(SqlState::BadArgument, what))
            }
            ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(datafusion) => Self::from(*datafusion),
                    Err(other) => inner_error(&other.to_string()),
                },
            },
            ArrowError::ComputeError(what) => execution_error(&what),
            ArrowError::IoError(what, _) => Self::new(SqlState::Io, what),
            other => inner_error(&other.to_string()),
        }
    }
}

/// 22003 for a number with more digits than its type has: `1234.5 is too large to store in a Decimal128 of
/// precision 5. Max is 999.99`.
fn no_room(what: &str) -> Option<Error> {
    let (_, rest) = what.split_once(" to store in a Decimal")?;
    let (precision, bound) = rest.split_once("precision ")?.1.split_once(". M")?;
    let (precision, scale): (usize, _) =
        (precision.parse().ok()?, bound.split_once('.').map_or(0, |(_, places)| places.len()));
    let digits = precision.checked_sub(scale)?;
    Some(Error::new(SqlState::OutOfRange, "numeric field overflow").detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{digits}."
    )))
}

/// A cast that failed on a value: which SQLSTATE Postgres gives depends on what the value was to
/// become.
fn cast_error(what: &str) -> Error {
    if let Some(rest) = what.strip_prefix("Cannot cast string '")
        && let Some((value, rest)) = rest.rsplit_once("' to value of ")
        && let Some(wanted) = rest.strip_suffix(" type")
    {
        let message = format!("invalid input syntax for type {}: \"{value}\"", sql_type(wanted));
        return Error::new(SqlState::BadText, message);
    }
    if let Some((_, wanted)) =
        what.strip_prefix("Can't cast value ").and_then(|rest| rest.split_once(" to type "))
    {
        return Error::new(SqlState::OutOfRange, format!("{} out of range", sql_type(wanted)));
    }
    let lower = what.to_ascii_lowercase();
    let state = if lower.contains("overflow")
        || lower.contains("out of range")
        || lower.contains("can't cast value")
        || lower.contains("too large")
    {
        SqlState::OutOfRange
    } else if lower.contains("timestamp") || lower.contains("date") || lower.contains("interval") {
        SqlState::BadDatetime
    } else {
        SqlState::BadText
    };
    // The value is quoted in it: nothing may be taken away.
    Error::new(state, lower_first(what))
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::ArrowError(inner, _) => Self::from(*inner),
            DataFusionError::SQL(inner, _) => Self::new(SqlState::Syntax, inner.to_string()),
            DataFusionError::SchemaError(inner, _) => schema_error(*inner),
            DataFusionError::Plan(what) => plan_error(&what),
            DataFusionError::NotImplemented(what) if what.starts_with("Unsupported SQL type ") => {
                let name = what.trim_start_matches("Unsupported SQL type ");
                Self::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
            }
            DataFusionError::NotImplemented(what) if what.starts_with("Unsupported CAST from ") => {
                let types = what.trim_start_matches("Unsupported CAST from ").split(" to ");
                let types = types.map(sql_types).collect::<Vec<_>>().join(" to ");
                Error::new(SqlState::CannotCast, format!("cannot cast type {types}"))
            }
            DataFusionError::NotImplemented(what) => sentences::known(&what).unwrap_or_else(|| {
                Self::unsupported(plain(&what)).hint("This form of SQL is not supported yet.")
            }),
            DataFusionError::Internal(what) => inner_error(&what),
            DataFusionError::Execution(what) => execution_error(&what),
            DataFusionError::ResourcesExhausted(what) => out_of_memory(what),
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(inner) => match inner.downcast::<ArrowError>() {
                    Ok(arrow) => Self::from(*arrow),
                    Err(other) => inner_error(&other.to_string()),
                },
            },
            DataFusionError::Context(_, inner) => Self::from(*inner),
            DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Shared(inner) => shared_error(&inner),
            DataFusionError::Collection(mut all) if !all.is_empty() => {
                Self::from(all.swap_remove(0))
            }
            DataFusionError::IoError(inner) => Self::new(SqlState::Io, inner.to_string()),
            other => inner_error(&other.to_string()),
        }
    }
}

/// An error that several readers of one build side share cannot be taken apart, only looked at.
fn shared_error(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ArrowError(inner, _) => shared_arrow_error(inner),
        DataFusionError::External(inner) => shared_inner_error(inner.as_ref()),
        DataFusionError::Execution(what) => execution_error(what),
        DataFusionError::Plan(what) => plan_error(what),
        DataFusionError::ResourcesExhausted(what) => out_of_memory(what.clone()),
        other => inner_error(&other.to_string()),
    }
}

fn shared_arrow_error(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::from(ArrowError::DivideByZero),
        ArrowError::ArithmeticOverflow(w) => Error::from(ArrowError::ArithmeticOverflow(w.clone())),
        ArrowError::CastError(w) | ArrowError::ParseError(w) => cast_error(w),
        ArrowError::InvalidArgumentError(w) => {
            no_room(w).unwrap_or_else(|| Error::new(SqlState::BadArgument, w.as_str()))
        }
        ArrowError::ComputeError(w) => execution_error(w),
        ArrowError::ExternalError(inner) => shared_inner_error(inner.as_ref()),
        other => inner_error(&other.to_string()),
    }
}

fn shared_inner_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        ours.clone()
    } else if let Some(arrow) = error.downcast_ref::<ArrowError>() {
        shared_arrow_error(arrow)
    } else if let Some(datafusion) = error.downcast_ref::<DataFusionError>() {
        shared_error(datafusion)
    } else {
        inner_error(&error.to_string())
    }
}

fn out_of_memory(what: String) -> Error {
    Error::new(SqlState::OutOfMemory, "out of memory")
        .detail(what)
        .hint("Ask for fewer groups or rows, or start the server with a larger --memory-limit.")
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            missing_column(field.relation.as_ref().map(|of| of.table()), &field.name, &valid_fields)
        }
        SchemaError::AmbiguousReference { field } => Error::new(
            SqlState::AmbiguousColumn,
            format!("column reference \"{}\" is ambiguous", field.name),
        )
        .hint("Put the table's name or alias before it."),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{name}\" is there more than once"),
        )
        .hint("Give one of them another name with AS."),
    }
}

/// A hint does not list more columns than a person reads.
const LISTED: usize = 24;

/// 42703, or 42P01 where what stands before the point is in no FROM clause.
fn missing_column(relation: Option<&str>, name: &str, there: &[Column]) -> Error {
    let is_of = |column: &&Column| match relation {
        Some(relation) => column.relation.as_ref().is_some_and(|of| of.table() == relation),
        None => true,
    };
    // Behind a control character stands what makes a name of a SELECT list unique; see
    // `plan::naming`.
    let shown = |column: &Column| column.name.split('\u{1}').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = there.iter().filter(is_of).map(shown).collect();
    // Nor does anyone ask for the number of the row that UPDATE and DELETE add.
    // And columns of ours have names that begin like this.
    names.retain(|name| !name.contains("----") && !name.starts_with("__"));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let message = match relation {
        Some(relation) if names.is_empty() && !there.is_empty() => {
            return Error::new(
                SqlState::UndefinedTable,
                format!("missing FROM-clause entry for table \"{relation}\""),
            );
        }
        Some(relation) => format!("column {relation}.{name} does not exist"),
        None => format!("column \"{name}\" does not exist"),
    };
    let error = Error::new(SqlState::UndefinedColumn, message);
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None if names.is_empty() || names.len() > LISTED => error,
        None => error.hint(format!("There are: {}.", names.join(", "))),
    }
}

/// DataFusion's planner speaks in sentences; Postgres in codes. The sentences are matched here and
/// nowhere else.
fn plan_error(what: &str) -> Error {
    if let Some(error) = named_error(what).or_else(|| sentences::known(what)) {
        return error;
    }
    let lower = what.to_ascii_lowercase();
    let state = if lower.contains("invalid function") || lower.contains("no function matches") {
        SqlState::UndefinedFunction
    } else if lower.contains("table") && lower.contains("not found") {
        SqlState::UndefinedTable
    } else if lower.contains("aggregate function calls cannot be nested")
        || lower.contains("aggregate functions are not allowed")
    {
        SqlState::Grouping
    } else if lower.contains("cannot coerce arithmetic expression")
        || lower.contains("cannot infer common argument type for comparison")
    {
        // To Postgres an operator between these types does not exist.
        SqlState::UndefinedFunction
    } else if lower.contains("non-boolean predicate")
        || lower.contains("incompatible inputs for union")
    {
        SqlState::TypeMismatch
    } else if lower.contains("must appear in the group by clause")
        || lower.contains("could not be resolved from available columns")
        || lower.contains("must be in group by")
    {
        SqlState::Grouping
    } else if lower.contains("cannot coerce")
        || lower.contains("cannot infer common")
        || lower.contains("failed to coerce")
        || lower.contains("type mismatch")
        || lower.contains("cannot get result type")
    {
        // A call with arguments of the wrong type is an undefined function to Postgres.
        if lower.contains("function") {
            SqlState::UndefinedFunction
        } else {
            SqlState::TypeMismatch
        }
    } else if lower.contains("no field named")
        || lower.contains("column") && lower.contains("not found")
    {
        SqlState::UndefinedColumn
    } else if lower.contains("placeholder") {
        SqlState::IndeterminateType
    } else {
        SqlState::Syntax
    };
    Error::new(state, plain(what))
}

/// The sentences about names and operators that are not there, in the words that Postgres has for
/// them.
fn named_error(what: &str) -> Option<Error> {
    let new = |state: SqlState, message: String| Some(Error::new(state, message));
    let quoted = |begin: &str, end: &str| -> Option<&str> {
        let rest = what.strip_prefix(begin)?;
        Some(&rest[..rest.find(end)?])
    };
    if let Some(name) = quoted("table '", "' not found") {
        return Some(missing_relation(name));
    }
    if let Some(name) = what.strip_prefix("Invalid qualifier ") {
        let name = name.rsplit('.').next().unwrap_or(name);
        let message = format!("missing FROM-clause entry for table \"{name}\"");
        return new(SqlState::UndefinedTable, message);
    }
    if let Some(name) = quoted("table function '", "' not found") {
        return Some(missing_function(name, None));
    }
    if let Some(name) = quoted("Invalid function '", "'") {
        return Some(missing_function(name, None));
    }
    if let Some((_, rest)) =
        what.split_once("No function matches the given name and argument types '")
        && let Some((call, _)) = rest.split_once("'. You might")
    {
        let (name, types) = call.split_once('(')?;
        let types = sql_types(types.strip_suffix(')')?);
        return unmatched(name, &types).or_else(|| Some(missing_function(name, Some(&types))));
    }
    if let Some(rest) = what.strip_prefix("Failed to coerce arguments to satisfy a call to '") {
        let (name, rest) = rest.split_once("' function: coercion from ")?;
        let (types, _) = rest.split_once(" to the signature ")?;
        let types = sql_types(types);
        return unmatched(name, &types).or_else(|| Some(missing_function(name, Some(&types))));
    }
    if what.starts_with("Substring without for/from") {
        return Some(missing_function("substring", None));
    }
    if what.starts_with("Too many columns! The subquery should only return one column") {
        return new(SqlState::Syntax, "subquery must return only one column".to_owned());
    }
    if what.starts_with("Inconsistent data length across values list") {
        return new(SqlState::Syntax, "VALUES lists must all be the same length".to_owned());
    }
    if let Some(name) = quoted("The window ", " is not defined") {
        return new(SqlState::UndefinedObject, format!("window \"{name}\" does not exist"));
    }
    if let Some(column) = ungrouped(what) {
        return new(
            SqlState::Grouping,
            format!(
                "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
            ),
        );
    }
    let operation = quoted("Cannot coerce arithmetic expression ", " to valid types")
        .or_else(|| quoted("Cannot infer common argument type for comparison operation ", "\n"))
        .or_else(|| {
            what.strip_prefix("Cannot infer common argument type for comparison operation ")
        });
    operation.and_then(missing_operator)
}

/// The column of which a sentence says that it is not grouped.
fn ungrouped(what: &str) -> Option<&str> {
    let (before, _) = what.split_once(" must appear in the GROUP BY clause")?;
    if let Some(named) = before.strip_suffix('"') {
        return named.rsplit('"').next();
    }
    // `HAVING clause references: t.a > Int64(1)`.
    before.rsplit_once(": ")?.1.split(' ').next().filter(|name| !name.contains('('))
}

/// 42P01, for a name as DataFusion resolves it: with its database and schema.
fn missing_relation(name: &str) -> Error {
    let name = name.strip_prefix("tidemill.").unwrap_or(name);
    let name = name.strip_prefix("public.").unwrap_or(name);
    Error::new(
        SqlState::UndefinedTable,
        format!("relation \"{}\" does not exist", name.replace('"', "")),
    )
}

/// 42883, with the types of the arguments where they are known.
pub(crate) fn missing_function(name: &str, types: Option<&str>) -> Error {
    let call = match types {
        Some(types) => format!("{name}({types})"),
        None => name.to_owned(),
    };
    Error::new(SqlState::UndefinedFunction, format!("function {call} does not exist")).hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// 42883 for `left op right` with Arrow's names for the types.
fn missing_operator(operation: &str) -> Option<Error> {
    let operators = [
        " IS NOT DISTINCT FROM ",
        " IS DISTINCT FROM ",
        " <= ",
        " >= ",
        " != ",
        " = ",
        " < ",
        " > ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
    ];
    let (operator, (left, right)) =
        operators.iter().find_map(|op| operation.split_once(op).map(|sides| (op.trim(), sides)))?;
    let operator = if operator == "!=" { "<>" } else { operator };
    let (left, right) = (sql_types(left), sql_types(right));
    let error = Error::new(
        SqlState::UndefinedFunction,
        format!("operator does not exist: {left} {operator} {right}"),
    );
    Some(error.hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    ))
}

/// Arrow's names of types, separated by commas, as Postgres's.
fn sql_types(types: &str) -> String {
    let mut names = Vec::new();
    let (mut depth, mut current) = (0_usize, String::new());
    for c in types.trim_matches(['[', ']']).chars() {
        match c {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match c {
            ',' if depth == 0 => names.push(std::mem::take(&mut current)),
            _ => current.push(c),
        }
    }
    names.push(current);
    let names = names.iter().map(|name| sql_type(name.trim())).filter(|name| !name.is_empty());
    names.collect::<Vec<_>>().join(", ")
}

/// Arrow's name of a type as Postgres's; where there is none, as it is.
fn sql_type(arrow: &str) -> String {
    let base = arrow.split(['(', '<', ' ']).next().unwrap_or_default();
    let inner = arrow.find('(').map(|at| arrow[at + 1..].trim_end_matches(')'));
    let name = match base {
        "Boolean" => "boolean",
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" | "UInt64" => "bigint",
        "Float16" | "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Null" => "unknown",
        "Binary" | "LargeBinary" | "BinaryView" => "bytea",
        "FixedSizeBinary" => "uuid",
        "Date32" | "Date64" => "date",
        "Time32" | "Time64" => "time without time zone",
        "Interval" | "Duration" => "interval",
        "Timestamp" if inner.is_some_and(|inner| inner.contains('"') || inner.contains("Some")) => {
            "timestamp with time zone"
        }
        "Timestamp" => "timestamp without time zone",
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "Struct" => "record",
        "List" | "LargeList" | "FixedSizeList" => {
            let element = inner.unwrap_or_default().trim_start_matches("non-null ").trim();
            return format!("{}[]", sql_type(element));
        }
        _ => return arrow.to_owned(),
    };
    name.to_owned()
}

/// A sentence of DataFusion's as a message: without the names of its own error kinds, of the
/// database and of itself.
fn plain(what: &str) -> String {
    if what.starts_with("Physical plan does not support logical expression") {
        return if what.contains("Subquery") || what.contains("Exists") {
            "a subquery whose condition on the query around it is no equation is not supported here"
        } else {
            "this form of expression is not supported here"
        }
        .to_owned();
    }
    let mut text = what.split("\n\nbacktrace:").next().unwrap_or_default();
    text = text.split("\nThis issue was likely caused by a bug").next().unwrap_or_default();
    text = text.split(".\nThis issue").next().unwrap_or_default().trim();
    let kinds = [
        "Error during planning: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "Internal error: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Optimizer rule ",
        "DataFusion error: ",
    ];
    while let Some(rest) = kinds.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest;
    }
    lower_first(text).replace("tidemill.public.", "")
}

/// A failure inside arrow or DataFusion; nobody outside knows them by name.
fn inner_error(what: &str) -> Error {
    // It may have happened in a task of the query's.
    if let Some(error) = sentences::known(what).or_else(|| overflowed(what)) {
        return error;
    }
    Error::internal(format!(
        "internal error: {}",
        plain(what).replace("DataFusion", "the query engine")
    ))
}

fn execution_error(what: &str) -> Error {
    if let Some(error) = sentences::known(what) {
        return error;
    }
    if let Some(error) = uncoerced(what) {
        return error;
    }
    let lower = what.to_ascii_lowercase();
    if lower.contains("scalar subquery returned more than one row") {
        let message = "more than one row returned by a subquery used as an expression";
        return Error::new(SqlState::CardinalityViolation, message);
    }
    let state = if lower.contains("placeholder") {
        SqlState::UndefinedParameter
    } else if lower.contains("divide by zero") || lower.contains("division by zero") {
        SqlState::DivisionByZero
    } else if lower.contains("overflow") || lower.contains("out of range") {
        SqlState::OutOfRange
    } else if lower.contains("scalar subquery") || lower.contains("more than one row") {
        SqlState::CardinalityViolation
    } else if lower.contains("granularity") {
        SqlState::BadArgument
    } else if lower.contains("error parsing timestamp")
        || lower.contains("parse") && lower.contains("interval")
    {
        SqlState::BadDatetime
    } else if lower.contains("parse") || lower.contains("invalid") {
        SqlState::BadText
    } else {
        SqlState::Internal
    };
    Error::new(state, plain(what))
}

/// A function whose own coercion has found no types for its arguments.
fn uncoerced(what: &str) -> Option<Error> {
    let (name, rest) = what.split_once("Function '")?.1.split_once('\'')?;
    if !rest.starts_with(" user-defined coercion failed") {
        return None;
    }
    Some(unmatched(name, "").unwrap_or_else(|| missing_function(name, None)))
}

/// What is no function to Postgres, with arguments of several types.
fn unmatched(name: &str, types: &str) -> Option<Error> {
    if name != "coalesce" {
        return None;
    }
    let mut all = types.split(", ");
    let first = all.next().unwrap_or_default();
    let message = match all.find(|other| *other != first) {
        Some(other) => format!("COALESCE types {first} and {other} cannot be matched"),
        None => "COALESCE types cannot be matched".to_owned(),
    };
    Some(Error::new(SqlState::TypeMismatch, message).hint("Cast its arguments to one type."))
}

/// Postgres begins messages in lower case; acronyms stay.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_readers_share_keeps_its_code() {
        let error = DataFusionError::ResourcesExhausted("too much".to_owned());
        let shared = DataFusionError::Shared(std::sync::Arc::new(error.context("while reading")));
        assert_eq!(Error::from(shared).state(), SqlState::OutOfMemory);
    }

    #[test]
    fn sentences_become_postgres_words() {
        let check = |what: &str, state: SqlState, expect: &str| {
            let error = Error::from(DataFusionError::Plan(what.to_owned()));
            assert_eq!((error.state(), error.message()), (state, expect), "{what}");
        };
        check(
            "table 'tidemill.public.x' not found",
            SqlState::UndefinedTable,
            "relation \"x\" does not exist",
        );
        check(
            "table 'tidemill.other.x' not found",
            SqlState::UndefinedTable,
            "relation \"other.x\" does not exist",
        );
        check(
            "No function matches the given name and argument types 'round(Utf8, Timestamp(µs))'. You might need to add explicit type casts.\n\tCandidate functions:\n\tround()",
            SqlState::UndefinedFunction,
            "function round(text, timestamp without time zone) does not exist",
        );
        check(
            "Cannot coerce arithmetic expression Utf8 + Int64 to valid types",
            SqlState::UndefinedFunction,
            "operator does not exist: text + bigint",
        );
        check(
            "Function 'lower' expects 1 arguments but received 2. No function matches the given name and argument types 'lower(Int64, Int64)'. You might need to add explicit type casts.\n\tCandidate functions:",
            SqlState::UndefinedFunction,
            "function lower(bigint, bigint) does not exist",
        );
        check(
            "HAVING clause references: people.age > Int64(1) must appear in the GROUP BY clause or be used in an aggregate function",
            SqlState::Grouping,
            "column \"people.age\" must appear in the GROUP BY clause or be used in an aggregate function",
        );
        check("Schema error: tidemill.public.x is odd", SqlState::Syntax, "x is odd");
    }

    #[test]
    fn types_are_named_as_postgres_names_them() {
        assert_eq!(sql_types("Int64, Decimal128(10, 2), List(Utf8)"), "bigint, numeric, text[]");
        assert_eq!(sql_types(r#"Timestamp(µs, "UTC"), Null"#), "timestamp with time zone, unknown");
        assert_eq!(sql_types(""), "");
    }
}
