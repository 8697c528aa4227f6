//! Which of the functions of a name a call means (Postgres manual, 10.3).
//!
//! Those that take the arguments as they are or after an implicit conversion are candidates. Of
//! several, those win that convert the fewest arguments, then those that convert to the preferred
//! type of its family. A constant in quotes has no type of its own and fits everything; where that
//! leaves a choice, it is text.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::catalog::Routine;
use crate::error::{Error, Result, SqlState, missing_function};
use crate::types::SqlType;

/// What is known of an argument of a call.
#[derive(Debug, Clone)]
pub(crate) struct GivenArgument {
    /// Its type; `Unknown` for NULL, constants in quotes and parameters.
    pub(crate) sql_type: SqlType,
    /// It is a CHAR that has its blanks, which a text has not.
    pub(crate) has_blanks: bool,
}

impl GivenArgument {
    /// What holds these values.
    pub(crate) fn of(field: &Field) -> GivenArgument {
        let own = SqlType::from_field(field);
        let has_blanks = own == SqlType::Bpchar(None);
        let sql_type = match own {
            SqlType::Name | SqlType::Char => SqlType::Text,
            other => general(other),
        };
        GivenArgument { sql_type, has_blanks }
    }

    /// NULL, a constant in quotes, a parameter.
    pub(crate) fn unknown() -> GivenArgument {
        GivenArgument { sql_type: SqlType::Unknown, has_blanks: false }
    }

    /// The argument, as far as it is known while a plan is being made.
    pub(crate) fn planned(field: &Field, constant: Option<&ScalarValue>) -> GivenArgument {
        match constant {
            Some(ScalarValue::Utf8(_) | ScalarValue::Null) => GivenArgument::unknown(),
            _ if *field.data_type() == DataType::Null => GivenArgument::unknown(),
            _ => GivenArgument::of(field),
        }
    }

    /// The argument, when its type is settled.
    pub(crate) fn settled(arg: &Expr, schema: &DFSchema) -> Result<GivenArgument> {
        Ok(match arg {
            Expr::Placeholder(placeholder) if placeholder.field.is_none() => {
                GivenArgument::unknown()
            }
            Expr::Literal(value, _) => {
                GivenArgument::planned(&arg.to_field(schema)?.1, Some(value))
            }
            other => GivenArgument::of(&other.to_field(schema)?.1),
        })
    }
}

/// The type without length or precision.
fn general(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Decimal(_) => SqlType::Decimal(None),
        SqlType::Varchar(_) | SqlType::Bpchar(_) => SqlType::Text,
        SqlType::Timestamp(_) => SqlType::Timestamp(6),
        SqlType::TimestampTz(_) => SqlType::TimestampTz(6),
        SqlType::Array(element) => SqlType::Array(Box::new(general(*element))),
        other => other,
    }
}

/// Where a number stands among those that are converted into each other.
fn width(sql_type: &SqlType) -> Option<u8> {
    Some(match sql_type {
        SqlType::SmallInt => 0,
        SqlType::Int => 1,
        SqlType::BigInt => 2,
        SqlType::Decimal(_) => 3,
        SqlType::Real => 4,
        SqlType::Double => 5,
        _ => return None,
    })
}

/// How well an argument fits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ArgumentFit {
    Exact,
    /// Converted into the type that is preferred in its family.
    Preferred,
    Converted,
}

fn fit(given: &GivenArgument, to: &SqlType) -> Option<ArgumentFit> {
    let from = &given.sql_type;
    if from == to {
        return Some(ArgumentFit::Exact);
    }
    let converted = match (from, to) {
        // What takes a value of no certain type takes any.
        (_, SqlType::Unknown) => true,
        (SqlType::Unknown, SqlType::Text) => return Some(ArgumentFit::Preferred),
        (SqlType::Unknown, _) => true,
        (SqlType::Date, SqlType::Timestamp(_) | SqlType::TimestampTz(_))
        | (SqlType::Timestamp(_), SqlType::TimestampTz(_))
        | (SqlType::Time, SqlType::Interval) => true,
        // An array of nothing but NULLs, or of nothing.
        (SqlType::Array(element), SqlType::Array(_)) => **element == SqlType::Unknown,
        _ => matches!((width(from), width(to)), (Some(from), Some(to)) if from < to),
    };
    let preferred = matches!(to, SqlType::Double | SqlType::TimestampTz(_) | SqlType::Interval);
    converted.then_some(if preferred { ArgumentFit::Preferred } else { ArgumentFit::Converted })
}

/// How well all arguments fit: (as they are, converted to preferred types); None: they do not.
fn score(wanted: &[SqlType], given: &[GivenArgument]) -> Option<(usize, usize)> {
    if wanted.len() != given.len() {
        return None;
    }
    let fits = given.iter().zip(wanted).map(|(given, wanted)| fit(given, wanted));
    let fits = fits.collect::<Option<Vec<ArgumentFit>>>()?;
    let count = |wanted| fits.iter().filter(|fit| **fit == wanted).count();
    Some((count(ArgumentFit::Exact), count(ArgumentFit::Preferred)))
}

/// The function that is meant.
///
/// # Errors
/// 42883 if there is none, 42725 if it could be several.
pub(super) fn resolve<'a>(
    name: &str,
    routines: &'a [Arc<Routine>],
    given: &[GivenArgument],
) -> Result<&'a Arc<Routine>> {
    let types = |routine: &Routine| -> Vec<SqlType> {
        routine.arguments.iter().map(|argument| argument.sql_type.clone()).collect()
    };
    best(name, routines.iter().map(|routine| (types(routine), routine)), given)
}

/// The one of these, with what each takes, that is meant by a call of `name`.
///
/// # Errors
/// As of [`resolve`].
pub(crate) fn best<T>(
    name: &str,
    candidates: impl Iterator<Item = (Vec<SqlType>, T)>,
    given: &[GivenArgument],
) -> Result<T> {
    let scored = candidates.filter_map(|(wanted, one)| Some((score(&wanted, given)?, one)));
    let mut scored: Vec<_> = scored.collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let types = || {
        let types: Vec<String> = given.iter().map(|given| given.sql_type.to_string()).collect();
        types.join(", ")
    };
    match scored.as_slice() {
        [(first, _), (second, _), ..] if first == second => {
            let what = format!("function {name}({}) is not unique", types());
            Err(Error::new(SqlState::AmbiguousFunction, what).hint(
                "Could not choose a best candidate function. You might need to add explicit type casts.",
            ))
        }
        _ => match scored.into_iter().next() {
            Some((_, one)) => Ok(one),
            None => Err(missing_function(name, Some(&types()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Argument, BodyText, FunctionDef, RelationId, RoutineKind, Stability};

    fn functions(signatures: &[&[SqlType]]) -> Vec<Arc<Routine>> {
        let function = |(at, types): (usize, &&[SqlType])| {
            let argument = |t: &SqlType| Argument { name: None, sql_type: t.clone() };
            Arc::new(Routine {
                id: RelationId(at as u64),
                name: "f".to_owned(),
                arguments: types.iter().map(argument).collect(),
                returns: SqlType::Int,
                kind: RoutineKind::Function(FunctionDef {
                    expr: "1".to_owned(),
                    body: BodyText::Return("1".to_owned()),
                    strict: false,
                    stability: Stability::Immutable,
                }),
                depends_on: Vec::new(),
                created_ms: 0,
            })
        };
        signatures.iter().enumerate().map(function).collect()
    }

    #[test]
    fn the_nearest_function_is_called_as_in_postgres() {
        use SqlType::{BigInt, Date, Double, Int, Text};
        let check = |signatures: &[&[SqlType]], given: &[SqlType], expect: Result<u64, &str>| {
            let given: Vec<_> = given
                .iter()
                .map(|t| GivenArgument { sql_type: t.clone(), has_blanks: false })
                .collect();
            let routines = functions(signatures);
            let found = resolve("f", &routines, &given);
            let found = found.map(|routine| routine.id.0).map_err(|error| error.state().code());
            assert_eq!(found, expect, "{given:?}");
        };
        let numeric = || SqlType::Decimal(None);
        check(&[&[Int], &[BigInt]], &[Int], Ok(0));
        check(&[&[Int], &[BigInt]], &[BigInt], Ok(1));
        check(&[&[Int]], &[BigInt], Err("42883"));
        check(&[&[Int], &[Int, Int]], &[Int, Int], Ok(1));
        check(&[&[numeric()], &[Double]], &[Int], Ok(1));
        check(&[&[numeric()], &[BigInt]], &[Int], Err("42725"));
        check(&[&[Int], &[Text]], &[SqlType::Unknown], Ok(1));
        check(&[&[Int], &[Date]], &[SqlType::Unknown], Err("42725"));
        check(&[&[Text]], &[Int], Err("42883"));
        check(&[&[]], &[], Ok(0));
    }
}
