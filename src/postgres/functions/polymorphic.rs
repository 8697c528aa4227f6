//! Functions over arrays of any type (PostgreSQL manual, 9.19 and 38.2.5): their arguments meet in one
//! type, as those of `anycompatiblearray` and `anycompatible` do.
//!
//! A form is written in letters, `AE:A`: an array and an element make an array.
//!
//! | letter | argument or result |
//! |---|---|
//! | `A`, `E` | an array, an element of what the arrays are of |
//! | `M` | elements or arrays, any number of them; as a result one dimension more |
//! | `S`, `P` | a bound of a series, its step |
//! | `I`, `T`, `B` | an integer, a text, a boolean |
//! | `J`, `L` | an array of integers, one of elements in one dimension |

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::collect::scalar_at;
use super::flat::trimmed;
use super::precision::with_blanks_of;
use super::text::columns;
use crate::error::{Error, Result, SqlState, missing_function};
use crate::postgres::by_name::by_name;
use crate::types::SqlType;

/// A function: how it is called and what it does.
#[derive(Debug)]
pub(crate) struct ArrayFunction {
    pub(crate) name: &'static str,
    pub(crate) forms: &'static [&'static str],
    pub(crate) call: fn(&ArrayCall) -> Result<ArrayRef>,
}

/// What a function is called with; a constant is a column of one row, which stands for all. Arrays have
/// no elements but those of these rows.
pub(crate) struct ArrayCall {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
    pub(crate) out: FieldRef,
}

#[derive(Debug)]
pub(crate) struct Polymorphic {
    function: &'static ArrayFunction,
    signature: Signature,
}

impl Polymorphic {
    pub(crate) fn udf(function: &'static ArrayFunction) -> ScalarUDF {
        let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(forms, Volatility::Immutable);
        ScalarUDF::from(Polymorphic { function, signature })
    }
}

/// An argument by its type; one without a type takes that of the others.
#[derive(Debug, Clone)]
pub(crate) struct ArgumentType {
    sql_type: SqlType,
    is_untyped: bool,
}

impl ArgumentType {
    fn new(field: &FieldRef, is_literal: bool) -> ArgumentType {
        let sql_type = SqlType::from_field(field);
        let is_untyped = *field.data_type() == DataType::Null
            || is_literal && *field.data_type() == DataType::Utf8;
        ArgumentType { sql_type, is_untyped }
    }

    pub(crate) fn of(expr: &Expr, schema: &DFSchema) -> DfResult<ArgumentType> {
        let is_literal =
            matches!(expr, Expr::Literal(ScalarValue::Utf8(_), metadata) if metadata.is_none());
        Ok(ArgumentType::new(&expr.to_field(schema)?.1, is_literal))
    }

    pub(crate) fn sql_type(&self) -> &SqlType {
        &self.sql_type
    }

    fn depth(&self) -> Option<usize> {
        (!self.is_untyped && matches!(self.sql_type, SqlType::Array(_)))
            .then(|| depth(&self.sql_type))
    }

    pub(crate) fn is_array(&self) -> bool {
        self.depth().is_some()
    }

    pub(crate) fn is_untyped(&self) -> bool {
        self.is_untyped
    }

    /// As an error names its type.
    pub(crate) fn shown(&self) -> String {
        match (&self.sql_type, self.is_untyped) {
            (_, true) => "unknown".to_owned(),
            (SqlType::Decimal(_), _) => SqlType::Decimal(None).to_string(),
            (SqlType::Timestamp(_), _) => SqlType::Timestamp(6).to_string(),
            (other, _) => other.without_length().to_string(),
        }
    }
}

pub(crate) fn depth(sql_type: &SqlType) -> usize {
    match sql_type {
        SqlType::Array(element) => 1 + depth(element),
        _ => 0,
    }
}

/// An array of these elements with so many dimensions.
pub(crate) fn nested(element: &SqlType, depth: usize) -> SqlType {
    (0..depth).fold(element.clone(), |inner, _| SqlType::Array(Box::new(inner)))
}

/// The type that values of both have together (Postgres manual, 10.5), if there is one.
pub(crate) fn common(a: &SqlType, b: &SqlType) -> Option<SqlType> {
    use SqlType::{BigInt, Bpchar, Char, Date, Decimal, Double, Int, Name, Oid, Real, SmallInt};
    use SqlType::{Text, Timestamp, TimestampTz, Unknown, Varchar};
    let rank = |of: &SqlType| match of {
        SmallInt => Some(0),
        Int => Some(1),
        BigInt => Some(2),
        Oid => Some(3),
        Decimal(_) => Some(4),
        Real => Some(5),
        Double => Some(6),
        _ => None,
    };
    let moment = |of: &SqlType| match of {
        Date => Some((0, 0)),
        Timestamp(digits) => Some((1, *digits)),
        TimestampTz(digits) => Some((2, *digits)),
        _ => None,
    };
    let is_text = |of: &SqlType| matches!(of, Text | Varchar(_) | Bpchar(_) | Name | Char);
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (Unknown, other) | (other, Unknown) => Some(other.clone()),
        (Decimal(Some((p, s))), Decimal(Some((q, t)))) if s == t => {
            Some(Decimal(Some((*p.max(q), *s))))
        }
        (Text | Varchar(_) | Bpchar(_), b) if is_text(b) => Some(a.without_length()),
        (a, b) if is_text(a) && is_text(b) => Some(Text),
        (a, b) => match (rank(a), rank(b), moment(a), moment(b)) {
            (Some(x), Some(y), ..) if x.max(y) == 4 => Some(Decimal(None)),
            (Some(x), Some(y), ..) => Some(if x > y { a.clone() } else { b.clone() }),
            (_, _, Some((x, m)), Some((y, n))) => Some(match x.max(y) {
                1 => Timestamp(m.max(n)),
                _ => TimestampTz(m.max(n)),
            }),
            _ => None,
        },
    }
}

/// The types that a call's arguments have in the end, and that of its result.
struct Resolved {
    args: Vec<SqlType>,
    out: SqlType,
}

impl ArrayFunction {
    fn resolve(&self, given: &[ArgumentType]) -> Result<Resolved> {
        if self.name == "array_element" && is_jsonb(given) {
            // A function of JSON takes its place.
            let args = given.iter().map(|given| given.sql_type.clone()).collect();
            return Ok(Resolved { args, out: SqlType::Jsonb });
        }
        let is_compared = self.name.starts_with("compare_") || self.name.starts_with("array_has");
        let forms = self.forms.iter().filter_map(|form| form.split_once(':'));
        for (params, out) in forms {
            let letters: Vec<char> = if params == "M" {
                vec!['M'; given.len()]
            } else if params.ends_with('*') && params.len() <= given.len() + 1 {
                let fixed = params.trim_end_matches('*');
                let last = fixed.chars().last().into_iter().cycle();
                fixed.chars().chain(last).take(given.len()).collect()
            } else {
                params.chars().collect()
            };
            if letters.len() == given.len()
                && let Some(resolved) = resolved(&letters, out.chars().next(), given, is_compared)
            {
                return Ok(resolved);
            }
        }
        Err(self.unresolved(given))
    }

    pub(super) fn takes(&self, given: &[ArgumentType]) -> bool {
        self.resolve(given).is_ok()
    }

    fn unresolved(&self, given: &[ArgumentType]) -> Error {
        let shown: Vec<String> = given.iter().map(ArgumentType::shown).collect();
        let construct = match self.name {
            "make_array" => Some("ARRAY"),
            "greatest" => Some("GREATEST"),
            "least" => Some("LEAST"),
            _ => None,
        };
        if let Some(construct) = construct {
            let Some(first) = given.iter().find(|given| !given.is_untyped) else {
                let what = "cannot determine type of empty array";
                return Error::new(SqlState::IndeterminateType, what)
                    .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].");
            };
            let other = given.iter().filter(|given| !given.is_untyped).find(|given| {
                common(first.sql_type.innermost(), given.sql_type.innermost()).is_none()
                    || given.depth() != first.depth()
            });
            let other = other.map_or("unknown".to_owned(), ArgumentType::shown);
            let what = format!("{construct} types {} and {other} cannot be matched", first.shown());
            return Error::new(SqlState::TypeMismatch, what);
        }
        if let [op, left, right] = given
            && self.name.starts_with("compare_")
            && op.is_untyped
        {
            return if right.is_array() || self.name == "compare_arrays" {
                missing_operator(&left.shown(), "=", &right.sql_type.innermost().to_string())
            } else {
                let what = "op ANY/ALL (array) requires array on right side";
                Error::new(SqlState::WrongObjectType, what)
            };
        }
        if let ("array_has_any", [left, right]) = (self.name, given) {
            return missing_operator(&left.shown(), "&&", &right.shown());
        }
        if self.name == "array_slice" && is_jsonb(given) {
            let what = "jsonb subscript does not support slices";
            return Error::new(SqlState::TypeMismatch, what)
                .hint("Take the elements apart with jsonb_array_elements.");
        }
        if self.name == "array_element" || self.name == "array_slice" {
            let of = given.first().map(ArgumentType::shown).unwrap_or_default();
            let what =
                format!("cannot subscript type {of} because it does not support subscripting");
            return Error::new(SqlState::TypeMismatch, what);
        }
        missing_function(self.name, Some(&shown.join(", ")))
    }
}

fn is_jsonb(given: &[ArgumentType]) -> bool {
    given.first().is_some_and(|first| first.sql_type == SqlType::Jsonb)
}

/// 42883 for an operator.
pub(crate) fn missing_operator(left: &str, operator: &str, right: &str) -> Error {
    let what = format!("operator does not exist: {left} {operator} {right}");
    Error::new(SqlState::UndefinedFunction, what).hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// `None` if the arguments do not fit the letters.
fn resolved(
    letters: &[char],
    out: Option<char>,
    given: &[ArgumentType],
    is_compared: bool,
) -> Option<Resolved> {
    let pairs = || letters.iter().copied().zip(given);
    let is_nested = pairs().any(|(letter, given)| letter == 'M' && given.is_array());
    let mut element: Option<SqlType> = None;
    let mut depths = Vec::new();
    for (letter, given) in pairs().filter(|(_, given)| !given.is_untyped) {
        let wants_array = letter == 'A' || letter == 'M' && is_nested;
        match (letter, given.depth()) {
            ('A' | 'E' | 'M', depth) if wants_array == depth.is_some() => {
                depths.extend(depth);
                let inner = given.sql_type.innermost();
                element = Some(element.map_or(Some(inner.clone()), |known| common(&known, inner))?);
            }
            ('A' | 'E' | 'M', _) => return None,
            ('I', None) if !is_integer(&given.sql_type) => return None,
            ('T', None) if common(&given.sql_type, &SqlType::Text).is_none() => return None,
            ('B', None) if given.sql_type != SqlType::Boolean => return None,
            ('J', Some(1)) | ('I' | 'T' | 'B' | 'S' | 'P', None) => {}
            _ => return None,
        }
    }
    if out == Some('M') && letters.is_empty()
        || depths.iter().any(|depth| is_nested && *depth != depths[0])
    {
        return None;
    }
    let is_open = given.iter().any(|given| given.is_untyped);
    let element = element_of(element, is_open, is_compared);
    let deepest = depths.iter().copied().max().unwrap_or(1);
    let series = if letters.contains(&'S') { Some(series(given)?) } else { None };
    let integers = || nested(&SqlType::Int, 1);
    let step = |bound: &SqlType| match bound {
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => SqlType::Interval,
        number => number.clone(),
    };
    let target = |(letter, given): (char, &ArgumentType)| {
        Some(match letter {
            'A' => nested(&element, given.depth().unwrap_or(deepest)),
            'M' if is_nested => nested(&element, deepest),
            'E' | 'M' => element.clone(),
            'S' => series.clone()?,
            'P' => step(series.as_ref()?),
            'I' => SqlType::Int,
            'B' => SqlType::Boolean,
            'J' => integers(),
            _ => SqlType::Text,
        })
    };
    let args = pairs().map(target).collect::<Option<Vec<_>>>()?;
    let out = match out {
        Some('A') => nested(&element, deepest),
        Some('E') => element.clone(),
        Some('M') => nested(&element, if is_nested { deepest + 1 } else { 1 }),
        Some('S') => nested(&series?, 1),
        Some('L') => nested(&element, 1),
        Some('J') => integers(),
        Some('I') => SqlType::Int,
        Some('B') => SqlType::Boolean,
        _ => SqlType::Text,
    };
    Some(Resolved { args, out })
}

/// What the arrays are of in the end, when their types meet in this one; `is_open`: there is a constant among
/// the elements.
fn element_of(met: Option<SqlType>, is_open: bool, is_compared: bool) -> SqlType {
    match met {
        Some(SqlType::Unknown) | None => SqlType::Text,
        // Blanks do not count in a comparison.
        Some(SqlType::Bpchar(_)) if is_compared => SqlType::Text,
        // A constant is not cut to the length of what stands beside it.
        Some(element) if is_open => element.without_length(),
        Some(element) => element,
    }
}

fn is_integer(of: &SqlType) -> bool {
    matches!(of, SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::Unknown)
}

/// What a series is of whose bounds and step are these: integers, numerics or moments.
fn series(given: &[ArgumentType]) -> Option<SqlType> {
    let typed = |given: &&ArgumentType| !given.is_untyped;
    let of = |given: &ArgumentType| given.sql_type.clone();
    let bounds = || given.iter().take(2).filter(typed).map(of);
    let step = given.get(2).filter(typed).map(of);
    let is_of_moments = bounds().next().is_none()
        && step.is_none_or(|step| step == SqlType::Interval)
        || bounds().any(|bound| common(&bound, &SqlType::Date).is_some());
    if is_of_moments {
        let exact = bounds()
            .filter(|bound| *bound != SqlType::Date)
            .reduce(|a, b| common(&a, &b).unwrap_or(a));
        let is_whole = given.len() == 3
            && bounds().all(|bound| common(&bound, &SqlType::Date).is_some())
            && given.get(2).filter(typed).is_none_or(|step| step.sql_type == SqlType::Interval);
        return is_whole.then_some(match exact {
            Some(SqlType::Timestamp(_)) => SqlType::Timestamp(6),
            _ => SqlType::TimestampTz(6),
        });
    }
    let step = given.get(2).filter(typed).map(of);
    let known = bounds().chain(step).try_fold(SqlType::Int, |known, next| common(&known, &next))?;
    let digits = |one: SqlType| match one {
        SqlType::Decimal(Some((_, digits))) => Some(digits),
        _ => None,
    };
    match known {
        SqlType::Int | SqlType::BigInt => Some(known),
        SqlType::Decimal(_) => {
            let mut all = given.iter().filter(typed).map(of).map(digits);
            let first = all.next().flatten();
            Some(match first {
                Some(digits @ 0..=18) if all.all(|other| other == first) => {
                    SqlType::Decimal(Some((38, digits)))
                }
                _ => SqlType::Decimal(None),
            })
        }
        _ => None,
    }
}

/// A call with its arguments cast to the types in which they meet; `None`: they have them, or it is
/// another function.
pub(crate) fn met(call: &ScalarFunction, schema: &DFSchema) -> DfResult<Option<Expr>> {
    let Some(polymorphic) = call.func.inner().downcast_ref::<Polymorphic>() else {
        return Ok(None);
    };
    let given =
        call.args.iter().map(|arg| ArgumentType::of(arg, schema)).collect::<DfResult<Vec<_>>>()?;
    let resolved = polymorphic.function.resolve(&given)?;
    let is_open = |arg: &Expr| matches!(arg, Expr::Placeholder(place) if place.field.is_none());
    if given.iter().zip(&resolved.args).all(|(given, wanted)| has(given, wanted))
        && !call.args.iter().any(is_open)
    {
        return Ok(None);
    }
    let args =
        call.args.iter().zip(given.iter().zip(&resolved.args)).map(|(arg, (given, wanted))| {
            match arg {
                arg if has(given, wanted) && !is_open(arg) => arg.clone(),
                // What the client is told that it is.
                Expr::Placeholder(place) if place.field.is_none() => {
                    let field = Arc::new(wanted.to_field("", true));
                    Expr::Placeholder(Placeholder::new_with_field(place.id.clone(), Some(field)))
                }
                arg => cast(with_blanks_of(arg.clone(), &given.sql_type, wanted), wanted),
            }
        });
    let call = ScalarFunction::new_udf(Arc::clone(&call.func), args.collect());
    Ok(Some(Expr::ScalarFunction(call)))
}

fn has(given: &ArgumentType, wanted: &SqlType) -> bool {
    given.sql_type == *wanted && (!given.is_untyped || *wanted == SqlType::Text)
}

pub(crate) fn cast(expr: Expr, to: &SqlType) -> Expr {
    Expr::Cast(Cast { expr: Box::new(expr), field: Arc::new(to.to_cast_field()) })
}

by_name!(Polymorphic, function.name);

impl ScalarUDFImpl for Polymorphic {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("the type of an array follows from the fields").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let literals = args.scalar_arguments.iter();
        let given: Vec<ArgumentType> = (args.arg_fields.iter().zip(literals))
            .map(|(field, literal)| ArgumentType::new(field, literal.is_some()))
            .collect();
        let resolved = self.function.resolve(&given).or_else(|error| {
            // Until the plan is rewritten, which asks again, a CASE or COALESCE of JSONB is known as a text.
            let untyped = |of: &ArgumentType| ArgumentType {
                is_untyped: of.is_untyped || of.sql_type == SqlType::Text,
                ..of.clone()
            };
            let is_of_json = given.iter().any(|of| of.sql_type == SqlType::Jsonb);
            let untyped: Vec<_> = given.iter().map(untyped).collect();
            if is_of_json { self.function.resolve(&untyped) } else { Err(error) }
        })?;
        Ok(Arc::new(resolved.out.to_field(self.name(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let plain = |column: ArrayRef| match (column.data_type(), column.as_list_opt::<i32>()) {
            (_, Some(list)) => Ok(Arc::new(trimmed(list)) as ArrayRef),
            // So are the texts of DataFusion's string_agg.
            (DataType::LargeUtf8, _) => compute::cast(&column, &DataType::Utf8),
            _ => Ok(column),
        };
        let columns = columns(&args.args)?.into_iter().map(plain).collect::<Result<_, _>>()?;
        let call = ArrayCall { columns, rows, out: args.return_field };
        let made = (self.function.call)(&call)?;
        Ok(if is_scalar {
            ColumnarValue::Scalar(scalar_at(&made, 0)?)
        } else {
            ColumnarValue::Array(made)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_meet_as_in_postgres() {
        use SqlType::{
            BigInt, Boolean, Bpchar, Date, Decimal, Double, Int, Text, TimestampTz, Varchar,
        };
        let check = |a: SqlType, b: SqlType, expect: Option<SqlType>| {
            assert_eq!(common(&a, &b), expect, "{a} and {b}");
            if !matches!((&a, &b), (Text, Varchar(_)) | (Varchar(_), Text)) {
                assert_eq!(common(&b, &a), expect, "{b} and {a}");
            }
        };
        check(Int, BigInt, Some(BigInt));
        check(Int, Decimal(Some((2, 1))), Some(Decimal(None)));
        check(Decimal(Some((3, 1))), Decimal(Some((2, 1))), Some(Decimal(Some((3, 1)))));
        check(Decimal(Some((38, 20))), Int, Some(Decimal(None)));
        check(Decimal(None), Double, Some(Double));
        check(Varchar(Some(3)), Text, Some(Varchar(None)));
        check(Text, Varchar(Some(3)), Some(Text));
        check(Bpchar(Some(3)), Bpchar(Some(4)), Some(Bpchar(None)));
        check(Date, TimestampTz(6), Some(TimestampTz(6)));
        check(Int, Boolean, None);
        check(Int, Text, None);
    }
}
