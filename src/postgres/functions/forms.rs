//! Functions as rows of a table: what the manual writes as `get_byte ( bytea, integer ) → integer`,
//! and what it is of one row, or of columns.
//!
//! Several rows of one name are forms of one function. Which of them a call means is found as for
//! the user's functions, so that a constant in quotes is of the type that is wanted; [`settled`]
//! puts the arguments into these types before DataFusion looks at them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, Time64MicrosecondType, TimeUnit,
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
use super::cast::{read, time_cast, written};
use super::form_values::{ArgumentColumn, built};
pub(super) use super::form_values::{ArgumentsOf, FormValue, ok};
use super::intervals::as_intervals;
use super::precision::without_blanks;
use super::text::Budget;
use crate::error::{Error, Result};
use crate::limits;
use crate::postgres::by_name::by_name;
use crate::types::SqlType;

/// What computes a function.
#[derive(Clone, Copy)]
enum FormBody {
    /// Of one row; NULL where an argument is.
    Strict(RowBody),
    /// Of one row, also where arguments are NULL.
    Loose(RowBody),
    /// Of columns, which have the types that are wanted; a text that is the same in all rows is
    /// there once.
    Columns(fn(&[ArrayRef], usize) -> Result<ArrayRef>),
    /// DataFusion's own.
    Library(fn() -> Arc<ScalarUDF>),
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
    agreed: Option<Agreed>,
}

/// DataFusion's function and for which arguments it gives what the form does, several times as fast:
/// it writes whole columns, without a text of its own for each row.
#[derive(Clone, Copy)]
struct Agreed {
    function: fn() -> Arc<ScalarUDF>,
    is_for: fn(&[ColumnarValue]) -> bool,
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

/// A form that is DataFusion's function.
pub(super) fn library(spec: &'static str, function: fn() -> Arc<ScalarUDF>) -> Form {
    form(spec, FormBody::Library(function))
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
        agreed: None,
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

/// DataFusion's function, whose numbers are longs.
fn through(
    function: &ScalarUDF,
    args: &[ColumnarValue],
    number_rows: usize,
    gives: &SqlType,
    config_options: &Arc<ConfigOptions>,
) -> DfResult<ColumnarValue> {
    let long = |arg: &ColumnarValue| match arg.data_type() {
        DataType::Int32 => arg.cast_to(&DataType::Int64, None),
        _ => Ok(arg.clone()),
    };
    let args = args.iter().map(long).collect::<DfResult<Vec<_>>>()?;
    let field = |arg: &ColumnarValue| Arc::new(Field::new("", arg.data_type(), true));
    let arg_fields: Vec<FieldRef> = args.iter().map(field).collect();
    let constants: Vec<_> = args.iter().map(constant).collect();
    let return_field = function.return_field_from_args(ReturnFieldArgs {
        arg_fields: &arg_fields,
        scalar_arguments: &constants,
    })?;
    let config_options = Arc::clone(config_options);
    function
        .invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields,
            number_rows,
            return_field,
            config_options,
        })?
        .cast_to(&gives.data_type(), None)
}

/// The value of all rows, if it is one.
pub(super) fn constant(arg: &ColumnarValue) -> Option<&ScalarValue> {
    match arg {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}

/// The functions that these are forms of; `grow`: those whose results are counted.
pub(super) fn functions(forms: Vec<Form>, grow: &[&str]) -> Vec<ScalarUDF> {
    let mut all: Vec<Forms> = Vec::new();
    for form in forms {
        match all.iter_mut().find(|known| known.name == form.name) {
            Some(known) => known.forms.push(form),
            None => all.push(Forms {
                name: form.name,
                grows: grow.contains(&form.name),
                forms: vec![form],
                is_settled: false,
                signature: Signature::one_of(
                    vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
                    Volatility::Immutable,
                ),
            }),
        }
    }
    all.into_iter().map(ScalarUDF::from).collect()
}

/// A form that is a function by itself, called with what it takes.
pub(super) struct OperatorForm {
    pub(super) takes: Vec<SqlType>,
    pub(super) function: Arc<ScalarUDF>,
}

pub(super) fn operator_form(form: Form) -> OperatorForm {
    let takes = form.takes.clone();
    let signature = Signature::any(takes.len(), Volatility::Immutable);
    let forms =
        Forms { name: form.name, forms: vec![form], is_settled: true, grows: false, signature };
    OperatorForm { takes, function: Arc::new(ScalarUDF::from(forms)) }
}

/// A function with its forms.
pub(super) struct Forms {
    name: &'static str,
    forms: Vec<Form>,
    /// It is called with what its only form takes.
    is_settled: bool,
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

    /// DataFusion's function takes the arguments that are so.
    pub(super) fn agreed(
        self,
        function: fn() -> Arc<ScalarUDF>,
        is_for: fn(&[ColumnarValue]) -> bool,
    ) -> Form {
        Form { agreed: Some(Agreed { function, is_for }), ..self }
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
    fn meant(&self, given: impl Fn() -> Vec<GivenArgument>) -> Result<&Form> {
        if let (true, [form]) = (self.is_settled, &self.forms[..]) {
            return Ok(form);
        }
        let given = &given()[..];
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
    function.inner().downcast_ref::<Forms>().is_some_and(|forms| !forms.is_settled)
}

/// The call with its arguments in the types of the form that is meant.
pub(crate) fn settled(mut call: ScalarFunction, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Some(forms) = call.func.inner().downcast_ref::<Forms>() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let given = call.args.iter().map(|arg| GivenArgument::settled(arg, schema));
    let given = given.collect::<Result<Vec<_>>>()?;
    let wanted = forms.meant(|| given.clone())?.wanted(given.len());
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
        } else if !is_there && arg.get_type(schema)? != wanted.data_type() {
            let field = Arc::new(wanted.to_field("", true));
            *arg = Expr::Cast(Cast::new_from_field(Box::new(std::mem::take(arg)), field));
            is_changed = true;
        } else if given.has_blanks && *wanted == SqlType::Text {
            *arg = without_blanks(std::mem::take(arg));
            is_changed = true;
        }
    }
    Ok(Transformed::new_transformed(Expr::ScalarFunction(call), is_changed))
}

/// What is no cast: numerics stay what they are, and the last one is none that DataFusion knows.
fn is_converted_here(from: &SqlType, to: &SqlType) -> bool {
    matches!(
        (from, to),
        (SqlType::Decimal(_), SqlType::Decimal(_)) | (SqlType::Time, SqlType::Interval)
    )
}

impl ScalarUDFImpl for Forms {
    fn name(&self) -> &str {
        self.name
    }

    /// That of an operator is written along its chain: link by link it would be copied each time.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        match (super::chains::symbol(self.name), args) {
            (Some(operator), [left, right]) => Ok(super::chains::name(left, operator, right)),
            _ => {
                let names: Vec<String> =
                    args.iter().map(|arg| arg.schema_name().to_string()).collect();
                Ok(format!("{}({})", self.name, names.join(",")))
            }
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal(format!("the type of {} depends on its arguments", self.name)).into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let form = self.meant(|| {
            let fields = args.arg_fields.iter().zip(args.scalar_arguments);
            fields.map(|(field, constant)| GivenArgument::planned(field, *constant)).collect()
        })?;
        let first = args.scalar_arguments.first().copied().flatten();
        if let (Some(check), Some(text)) =
            (form.check, first.and_then(ScalarValue::try_as_str).flatten())
        {
            check(text, &form.takes.get(1).map(SqlType::to_string).unwrap_or_default())?;
        }
        Ok(Arc::new(form.gives.to_field(self.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let form = self.meant(|| {
            let given =
                (args.arg_fields.iter().zip(&args.args)).map(|(field, value)| match value {
                    ColumnarValue::Scalar(ScalarValue::Utf8(_) | ScalarValue::Null) => {
                        GivenArgument::unknown()
                    }
                    _ => GivenArgument::of(field),
                });
            given.collect()
        })?;
        let wanted = form.wanted(args.args.len());
        let typed = args.args.iter().zip(args.arg_fields.iter().zip(&wanted));
        let typed = typed.map(|(value, (field, wanted))| match value {
            ColumnarValue::Array(array) => {
                converted(array, field, wanted).map(ColumnarValue::Array)
            }
            ColumnarValue::Scalar(value) if value.data_type() == wanted.data_type() => {
                Ok(ColumnarValue::Scalar(value.clone()))
            }
            ColumnarValue::Scalar(value) => {
                let one = converted(&value.to_array()?, field, wanted)?;
                ScalarValue::try_from_array(&one, 0).map(ColumnarValue::Scalar)
            }
        });
        let typed = typed.collect::<DfResult<Vec<_>>>()?;
        let are_constant = typed.iter().all(|arg| constant(arg).is_some());
        let rows = if are_constant { 1 } else { args.number_rows };
        // What is joined is counted; when it is much, row by row.
        let bytes = if form.repeats { joined_bytes(&typed, rows) } else { 0 };
        let is_agreed = |agreed: &Agreed| {
            !are_constant && bytes <= limits::VALUE_BYTES && (agreed.is_for)(&typed)
        };
        let library = match form.body {
            FormBody::Library(function) => Some(function),
            _ => form.agreed.filter(is_agreed).map(|agreed| agreed.function),
        };
        if let Some(function) = library {
            Budget::default().add(bytes)?;
            return through(&function(), &typed, rows, &form.gives, &args.config_options);
        }
        let computed = self.computed(&typed, rows, form)?;
        Ok(if are_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?)
        } else {
            ColumnarValue::Array(computed)
        })
    }
}

/// How long a text between others may be, that they are joined by DataFusion's function.
pub(super) const SEPARATOR: usize = 16;

/// How many bytes the texts have together, those of a constant in each row, with what may stand
/// between them.
fn joined_bytes(args: &[ColumnarValue], rows: usize) -> usize {
    let bytes = args.iter().map(|arg| match arg {
        ColumnarValue::Scalar(value) => {
            value.try_as_str().flatten().map_or(0, str::len).saturating_mul(rows)
        }
        ColumnarValue::Array(array) => array.as_string_opt::<i32>().map_or(0, |texts| {
            let offsets = texts.value_offsets();
            (offsets[texts.len()] - offsets[0]) as usize
        }),
    });
    bytes.fold(args.len() * SEPARATOR * rows, usize::saturating_add)
}

fn converted(column: &ArrayRef, field: &Field, wanted: &SqlType) -> DfResult<ArrayRef> {
    let (is, to) = (column.data_type(), wanted.data_type());
    Ok(match wanted {
        SqlType::Unknown if is.is_string() || is.is_null() => Arc::clone(column),
        SqlType::Unknown => written(column, field),
        SqlType::Decimal(_) if is.is_decimal() => Arc::clone(column),
        _ if *is == to => Arc::clone(column),
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) if *is == DataType::Date32 => {
            time_cast(column, &to)?
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
    fn computed(&self, args: &[ColumnarValue], rows: usize, form: &Form) -> Result<ArrayRef> {
        let (body, is_strict) = match form.body {
            FormBody::Strict(body) => (body, true),
            FormBody::Loose(body) => (body, false),
            FormBody::Library(_) => return Err(Error::internal("a library's form has no rows")),
            FormBody::Columns(body) => {
                let column = |arg: &ColumnarValue| {
                    arg.to_array(if arg.data_type() == DataType::Utf8 { 1 } else { rows })
                };
                return body(&args.iter().map(column).collect::<DfResult<Vec<_>>>()?, rows);
            }
        };
        let column =
            |arg: &ColumnarValue| ArgumentColumn::new(&arg.to_array(1)?, constant(arg).is_some());
        let columns = args.iter().map(column).collect::<Result<Vec<_>>>()?;
        let mut budget = Budget::default();
        let values = (0..rows).map(|at| {
            let row = ArgumentsOf { columns: &columns, at };
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

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::functions::{shown, strings};

    /// Texts of few letters, so that one is found in another.
    fn a_text() -> impl Strategy<Value = Option<String>> {
        let plain = proptest::string::string_regex("[abAB ,.0]{0,9}").unwrap();
        let other = proptest::string::string_regex("[aBß İǅéЖ中🦀,]{0,6}").unwrap();
        prop_oneof![2 => plain.prop_map(Some), 1 => other.prop_map(Some), 1 => Just(None)]
    }

    /// A column of so many rows, or one value for all of them.
    fn an_argument(of: &SqlType) -> BoxedStrategy<ColumnarValue> {
        const ROWS: usize = 8;
        match of {
            SqlType::Int => prop_oneof![
                proptest::collection::vec(proptest::option::of(-9..9), ROWS)
                    .prop_map(|numbers| ColumnarValue::Array(Arc::new(Int32Array::from(numbers)))),
                proptest::option::of(prop_oneof![-9..9, Just(i32::MIN), Just(i32::MAX)])
                    .prop_map(|number| ColumnarValue::Scalar(ScalarValue::Int32(number))),
            ]
            .boxed(),
            _ => prop_oneof![
                2 => proptest::collection::vec(a_text(), ROWS)
                    .prop_map(|texts| ColumnarValue::Array(Arc::new(StringArray::from(texts)))),
                1 => a_text().prop_map(|text| ColumnarValue::Scalar(ScalarValue::Utf8(text))),
            ]
            .boxed(),
        }
    }

    fn all() -> Vec<Form> {
        let mut all = [strings::forms(), shown::forms()].concat();
        all.retain(|form| form.agreed.is_some());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

        /// Where DataFusion's function is taken, it gives what ours does.
        #[test]
        fn the_library_agrees_where_it_is_said_to(
            (n, args) in (0..all().len()).prop_flat_map(|n| {
                let form = &all()[n];
                let count = if form.repeats { 3 } else { form.takes.len() };
                let args: Vec<_> = form.wanted(count).iter().map(an_argument).collect();
                (Just(n), args)
            })
        ) {
            let form = &all()[n];
            let agreed = form.agreed.unwrap();
            let is_column = args.iter().any(|arg| constant(arg).is_none());
            if is_column && (agreed.is_for)(&args) {
                let ours = forms_of(form).computed(&args, 8, form).unwrap();
                let options = Arc::new(ConfigOptions::default());
                let theirs = through(&(agreed.function)(), &args, 8, &form.gives, &options).unwrap();
                let theirs = theirs.into_array(8).unwrap();
                prop_assert_eq!(&ours, &theirs, "{} of {:?}", form.name, args);
            }
        }
    }

    fn forms_of(form: &Form) -> Forms {
        Forms {
            name: form.name,
            forms: vec![form.clone()],
            is_settled: false,
            grows: false,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}
