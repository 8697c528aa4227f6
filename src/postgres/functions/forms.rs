//! Functions as rows of a table: what the manual writes as `get_byte ( bytea, integer ) → integer`,
//! and what it is of one row, or of columns.
//!
//! Several rows of one name are forms of one function. Which of them a call means is found as for
//! the user's functions, so that a constant in quotes is of the type that is wanted; [`settled`]
//! puts the arguments into these types before DataFusion looks at them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, PrimitiveArray,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, IntervalMonthDayNano, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::super::routines::resolve::{GivenArgument, best};
use super::cast::{read, written};
use super::form_values::{ArgumentColumn, built};
pub(super) use super::form_values::{ArgumentsOf, FormValue, ok};
use super::intervals::as_intervals;
use super::scalar::over_columns;
use super::text::Budget;
use crate::error::{Error, Result};
use crate::postgres::by_name::by_name;
use crate::time::DAY_MICROS;
use crate::types::SqlType;

/// What computes a function.
#[derive(Clone, Copy)]
enum FormBody {
    /// Of one row; NULL where an argument is.
    Strict(RowBody),
    /// Of one row, also where arguments are NULL.
    Loose(RowBody),
    /// Of columns, which have the types that are wanted.
    Columns(fn(&[ArrayRef], usize) -> Result<ArrayRef>),
}

type RowBody = for<'a> fn(ArgumentsOf<'a>) -> Result<FormValue<'a>>;

/// One form of a function.
#[derive(Clone)]
pub(super) struct Form {
    name: &'static str,
    /// `Unknown`: of any type, as text.
    takes: Vec<SqlType>,
    /// The last one may be there several times.
    repeats: bool,
    gives: SqlType,
    body: FormBody,
    check: Option<FormCheck>,
}

/// What is wrong with a first argument that is a constant, beside a second one of that type.
type FormCheck = fn(&str, &str) -> Result<()>;

/// A form that is NULL of NULL.
pub(super) fn strict(spec: &'static str, body: RowBody) -> Form {
    form(spec, FormBody::Strict(body))
}

/// A form that asks for NULLs itself.
pub(super) fn loose(spec: &'static str, body: RowBody) -> Form {
    form(spec, FormBody::Loose(body))
}

/// A form that is computed over columns.
pub(super) fn over(spec: &'static str, body: fn(&[ArrayRef], usize) -> Result<ArrayRef>) -> Form {
    form(spec, FormBody::Columns(body))
}

/// `name(type, …) type`; three points behind the last type: several.
fn form(spec: &'static str, body: FormBody) -> Form {
    let (name, rest) = spec.split_once('(').unwrap_or((spec, ""));
    let (arguments, gives) = rest.rsplit_once(") ").unwrap_or(("", rest));
    let takes = arguments.split(", ").filter(|argument| !argument.is_empty());
    Form {
        name,
        takes: takes.map(|argument| type_named(argument.trim_end_matches("..."))).collect(),
        repeats: arguments.ends_with("..."),
        gives: type_named(gives),
        body,
        check: None,
    }
}

fn type_named(name: &str) -> SqlType {
    match name {
        "bool" => SqlType::Boolean,
        "int" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "double" => SqlType::Double,
        "numeric" => SqlType::Decimal(None),
        "text" => SqlType::Text,
        "text[]" => SqlType::Array(Box::new(SqlType::Text)),
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp(6),
        "timestamptz" => SqlType::TimestampTz(6),
        "interval" => SqlType::Interval,
        _ => SqlType::Unknown,
    }
}

/// DataFusion's function over columns.
pub(super) fn through(
    function: &Arc<ScalarUDF>,
    columns: &[ArrayRef],
    rows: usize,
    out: DataType,
) -> Result<ArrayRef> {
    let field = |column: &ArrayRef| Arc::new(Field::new("", column.data_type().clone(), true));
    let arg_fields: Vec<FieldRef> = columns.iter().map(field).collect();
    let scalar_arguments = &vec![None; columns.len()];
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments })?;
    let result = function.invoke_with_args(ScalarFunctionArgs {
        args: columns.iter().cloned().map(ColumnarValue::Array).collect(),
        arg_fields,
        number_rows: rows,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    Ok(cast(&result.into_array(rows)?, &out)?)
}

/// The functions that these are forms of; `grow`: those that can make much of little.
pub(super) fn functions(forms: Vec<Form>, grow: &[&str]) -> Vec<ScalarUDF> {
    let mut all: Vec<Forms> = Vec::new();
    for form in forms {
        match all.iter_mut().find(|known| known.name == form.name) {
            Some(known) => known.forms.push(form),
            None => all.push(Forms {
                name: form.name,
                grows: grow.contains(&form.name),
                forms: vec![form],
                signature: Signature::one_of(
                    vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
                    Volatility::Immutable,
                ),
            }),
        }
    }
    all.into_iter().map(ScalarUDF::from).collect()
}

/// A function with its forms.
pub(super) struct Forms {
    name: &'static str,
    forms: Vec<Form>,
    grows: bool,
    signature: Signature,
}

impl std::fmt::Debug for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

by_name!(Forms);

impl Form {
    /// Looks at what it is called with when that is planned.
    pub(super) fn checked(self, check: FormCheck) -> Form {
        Form { check: Some(check), ..self }
    }

    /// The types of so many arguments.
    fn wanted(&self, count: usize) -> Vec<SqlType> {
        let mut wanted = self.takes.clone();
        if let (true, Some(last)) = (self.repeats, self.takes.last()) {
            wanted.resize(count.max(wanted.len()), last.clone());
        }
        wanted
    }
}

impl Forms {
    fn meant(&self, given: &[GivenArgument]) -> Result<&Form> {
        let forms = self.forms.iter().map(|form| (form.wanted(given.len()), form));
        best(self.name, forms, given)
    }
}

/// Whether a function can make much of little.
pub(super) fn grows(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Forms>().is_some_and(|forms| forms.grows)
}

/// Whether a function has forms.
pub(crate) fn has_forms(function: &ScalarUDF) -> bool {
    function.inner().is::<Forms>()
}

/// The call with its arguments in the types of the form that is meant.
pub(crate) fn settled(mut call: ScalarFunction, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Some(forms) = call.func.inner().downcast_ref::<Forms>() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let given = call.args.iter().map(|arg| GivenArgument::settled(arg, schema));
    let given = given.collect::<Result<Vec<_>>>()?;
    let wanted = forms.meant(&given)?.wanted(given.len());
    let mut is_changed = false;
    for (arg, (given, wanted)) in call.args.iter_mut().zip(given.iter().zip(&wanted)) {
        let is_null = matches!(arg, Expr::Literal(ScalarValue::Null, _));
        let is_constant = matches!(arg, Expr::Literal(..)) && given.sql_type != SqlType::Unknown;
        let is_there = *wanted == SqlType::Unknown
            || given.sql_type == *wanted && !is_constant
            || given.sql_type == SqlType::Unknown && *wanted == SqlType::Text && !is_null
            || is_converted_here(&given.sql_type, wanted)
                && !matches!(arg, Expr::Literal(ScalarValue::UInt64(_), _));
        if let Expr::Placeholder(placeholder) = arg
            && placeholder.field.is_none()
        {
            let field = if *wanted == SqlType::Unknown { &SqlType::Text } else { wanted };
            placeholder.field = Some(Arc::new(field.to_field("", true)));
        } else if !is_there && arg.get_type(schema)? != arrow_type(wanted) {
            let field = Arc::new(wanted.to_field("", true).with_data_type(arrow_type(wanted)));
            *arg = Expr::Cast(Cast::new_from_field(Box::new(std::mem::take(arg)), field));
            is_changed = true;
        }
    }
    Ok(Transformed::new_transformed(Expr::ScalarFunction(call), is_changed))
}

/// What is no cast: numerics stay what they are, and a cast of times would not have infinity, or is
/// none that DataFusion knows.
fn is_converted_here(from: &SqlType, to: &SqlType) -> bool {
    matches!(
        (from, to),
        (SqlType::Decimal(_), SqlType::Decimal(_))
            | (SqlType::Date, SqlType::Timestamp(_) | SqlType::TimestampTz(_))
            | (SqlType::Time, SqlType::Interval)
    )
}

/// Whole numbers become numerics that hold them all; those that are numerics stay what they are.
fn arrow_type(wanted: &SqlType) -> DataType {
    match wanted {
        SqlType::Decimal(None) => DataType::Decimal128(38, 10),
        other => other.data_type(),
    }
}

impl ScalarUDFImpl for Forms {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal(format!("the type of {} depends on its arguments", self.name)).into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let fields = args.arg_fields.iter().zip(args.scalar_arguments);
        let given: Vec<_> =
            fields.map(|(field, constant)| GivenArgument::planned(field, *constant)).collect();
        let form = self.meant(&given)?;
        let first = args.scalar_arguments.first().copied().flatten();
        if let (Some(check), Some(text)) =
            (form.check, first.and_then(ScalarValue::try_as_str).flatten())
        {
            check(text, &form.takes.get(1).map(SqlType::to_string).unwrap_or_default())?;
        }
        Ok(Arc::new(form.gives.to_field(self.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let given: Vec<_> = (args.arg_fields.iter().zip(&args.args))
            .map(|(field, value)| match value {
                ColumnarValue::Scalar(ScalarValue::Utf8(_) | ScalarValue::Null) => {
                    GivenArgument::unknown()
                }
                _ => GivenArgument::of(field),
            })
            .collect();
        let form = self.meant(&given)?;
        let wanted = form.wanted(given.len());
        let (body, is_strict) = match form.body {
            FormBody::Strict(body) => (body, true),
            FormBody::Loose(body) => (body, false),
            FormBody::Columns(body) => {
                return over_columns(&args.args, args.number_rows, |columns, rows| {
                    let typed = columns.iter().zip(args.arg_fields.iter().zip(&wanted));
                    let typed =
                        typed.map(|(column, (field, wanted))| converted(column, field, wanted));
                    Ok(body(&typed.collect::<DfResult<Vec<_>>>()?, rows)?)
                });
            }
        };
        let is_constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
        let arguments = args.args.iter().zip(args.arg_fields.iter().zip(&wanted));
        let columns = arguments
            .map(|(value, (field, wanted))| {
                let column = converted(&value.to_array(1)?, field, wanted)?;
                Ok(ArgumentColumn::new(&column, is_constant(value))?)
            })
            .collect::<DfResult<Vec<_>>>()?;
        let are_constant = args.args.iter().all(is_constant);
        let rows = if are_constant { 1 } else { args.number_rows };
        let computed = self.computed(&columns, rows, form, body, is_strict)?;
        Ok(if are_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?)
        } else {
            ColumnarValue::Array(computed)
        })
    }
}

fn converted(column: &ArrayRef, field: &Field, wanted: &SqlType) -> DfResult<ArrayRef> {
    let (is, to) = (column.data_type(), arrow_type(wanted));
    Ok(match wanted {
        SqlType::Unknown if is.is_string() || is.is_null() => Arc::clone(column),
        SqlType::Unknown => written(column, field),
        SqlType::Decimal(_) if is.is_decimal() => Arc::clone(column),
        _ if *is == to => Arc::clone(column),
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) if *is == DataType::Date32 => {
            let micros = column.as_primitive::<Date32Type>().unary(|days| match days {
                i32::MIN => i64::MIN,
                i32::MAX => i64::MAX,
                days => i64::from(days).saturating_mul(DAY_MICROS),
            });
            let micros: PrimitiveArray<TimestampMicrosecondType> = micros;
            Arc::new(micros.with_data_type(to))
        }
        SqlType::Interval if matches!(is, DataType::Duration(_)) => as_intervals(column)?,
        SqlType::Interval if matches!(is, DataType::Time64(TimeUnit::Microsecond)) => {
            let intervals: IntervalMonthDayNanoArray = column
                .as_primitive::<Time64MicrosecondType>()
                .unary(|micros| IntervalMonthDayNano::new(0, 0, micros * 1_000));
            Arc::new(intervals)
        }
        _ if is.is_string() && !to.is_string() => read(column, &wanted.to_field("", true))?,
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, &to, &options)?
        }
    })
}

impl Forms {
    fn computed(
        &self,
        columns: &[ArgumentColumn],
        rows: usize,
        form: &Form,
        body: RowBody,
        is_strict: bool,
    ) -> Result<ArrayRef> {
        let mut budget = Budget::default();
        let values = (0..rows).map(|at| {
            let row = ArgumentsOf { columns, at };
            if is_strict && (0..columns.len()).any(|n| row.is_null(n)) {
                return Ok(FormValue::Null);
            }
            let value = body(row)?;
            if let (true, FormValue::Text(text)) = (self.grows, &value) {
                budget.add(text.len())?;
            }
            Ok(value)
        });
        built(values, &form.gives)
    }
}
