//! Mathematical functions (Postgres manual, 9.3): of doubles, and of numerics where Postgres has them.
//!
//! | file | idea |
//! |---|---|
//! | `doubles` | functions of one or two doubles, and where they have no value |
//! | `placing` | numerics with fewer places |
//! | `whole` | divisors, factorials, places and buckets |
//! | `shifts` | operators on bits, each by the width of its type |
//!
//! A call has its form by its arguments: with a double among them all are doubles; with a numeric and no
//! double all are numerics; integers and untyped constants are whatever stands beside them, and doubles
//! alone. The results of numerics are [`transcendental`]'s.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, i256};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::numeric::{computed, failed};
use super::scalar::over_columns;
use crate::error::{Error, Result, SqlState};
use crate::postgres::by_name::by_name;
use crate::types::decimal::{Decimal, DecimalError, MAX_SCALE};
use crate::types::transcendental::{self, Undefined};
use crate::types::{SqlType, WIDE_NUMERIC};
use placing::Placing;

mod doubles;
mod placing;
mod shifts;
mod whole;

pub(crate) use doubles::in_range;
pub(crate) use shifts::replacement as shift;

pub(super) fn all() -> Vec<ScalarUDF> {
    let mut all: Vec<ScalarUDF> = doubles::OF_ONE.map(of_one).into();
    let power = Numerics::Computed(|of| transcendental::power(of[0], of[1]));
    let log = Numerics::Computed(|of| transcendental::log(of[0], of[1]));
    let div = Numerics::Computed(|of| whole::quotient(of[0], of[1]));
    all.extend([
        function("atan2", 2, Doubles::Two(|y, x| Ok(y.atan2(x))), Numerics::None),
        function("power", 2, Doubles::Two(doubles::power), power),
        function("log", 2, Doubles::None, log),
        function("div", 2, Doubles::None, div),
    ]);
    all.push(shifts::not());
    all.extend(whole::all());
    all
}

fn of_one((name, of): (&'static str, fn(f64) -> Result<f64>)) -> ScalarUDF {
    let numerics = match name {
        "sqrt" => Numerics::Computed(|of| transcendental::root(of[0])),
        "exp" => Numerics::Computed(|of| transcendental::exp(of[0])),
        "ln" => Numerics::Computed(|of| transcendental::ln(of[0])),
        "log10" => Numerics::Computed(|of| {
            transcendental::log(Decimal::new(i256::from_i128(10), 0), of[0])
        }),
        "sign" => Numerics::Computed(|of| Ok(Decimal::new(of[0].value.signum(), 0))),
        "ceil" => Numerics::Placed(Placing::Ceil),
        "floor" => Numerics::Placed(Placing::Floor),
        "round" => Numerics::Placed(Placing::Round),
        "trunc" => Numerics::Placed(Placing::Trunc),
        _ => Numerics::None,
    };
    function(name, 1, Doubles::One(of), numerics)
}

fn function(
    name: &'static str,
    arguments: usize,
    doubles: Doubles,
    numerics: Numerics,
) -> ScalarUDF {
    let aliases: &[&str] = match name {
        "ceil" => &["ceiling"],
        "power" => &["pow"],
        "sign" => &["signum"],
        _ => &[],
    };
    let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::from(Math { name, aliases, arguments, doubles, numerics, signature })
}

/// What a function is of doubles.
#[derive(Debug, Clone, Copy)]
enum Doubles {
    None,
    One(fn(f64) -> Result<f64>),
    Two(fn(f64, f64) -> Result<f64>),
}

/// What a function is of numerics.
#[derive(Debug, Clone, Copy)]
enum Numerics {
    None,
    Computed(fn(&[Decimal]) -> Result<Decimal, Undefined>),
    /// The number itself with fewer places.
    Placed(Placing),
}

#[derive(Debug)]
struct Math {
    name: &'static str,
    aliases: Vec<String>,
    arguments: usize,
    doubles: Doubles,
    numerics: Numerics,
    signature: Signature,
}

by_name!(Math);

/// 42883, as Postgres says it.
fn undefined(name: &str, types: &[DataType]) -> DataFusionError {
    let types: Vec<String> = types
        .iter()
        .map(|of| SqlType::from_field(&Field::new("", of.clone(), true)).to_string())
        .collect();
    let message = format!("function {name}({}) does not exist", types.join(", "));
    Error::new(SqlState::UndefinedFunction, message)
        .hint("No function matches the given name and argument types; a cast may help.")
        .into()
}

/// An integer that is rounded as a numeric.
const INTEGER: DataType = DataType::Decimal128(19, 0);

fn is_number(of: &DataType) -> bool {
    of.is_numeric() || of.is_string() || of.is_null()
}

/// An argument as a numeric, or as the integer that it is.
fn exact(of: &DataType) -> DataType {
    match of {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        of if of.is_integer() || of.is_decimal() => of.clone(),
        _ => SqlType::Decimal(None).data_type(),
    }
}

impl Math {
    /// Whether the call is of numerics.
    fn is_exact(&self, types: &[DataType]) -> bool {
        let has_numeric = types.iter().any(DataType::is_decimal);
        match self.numerics {
            _ if types.iter().any(DataType::is_floating) => false,
            Numerics::None => false,
            Numerics::Computed(_) => has_numeric || matches!(self.doubles, Doubles::None),
            Numerics::Placed(_) => has_numeric || types.len() == 2,
        }
    }
}

impl ScalarUDFImpl for Math {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let is_placed = matches!(self.numerics, Numerics::Placed(Placing::Round | Placing::Trunc))
            && types.len() == 2;
        if types.len() != self.arguments && !is_placed || !types.iter().all(is_number) {
            return Err(undefined(self.name, types));
        }
        match self.doubles {
            _ if is_placed => {
                // Doubles have no places.
                if types.iter().any(DataType::is_floating) {
                    return Err(undefined(self.name, types));
                }
                let places = if types[1].is_integer() { &types[1] } else { &DataType::Int32 };
                let whole = |of: DataType| if of.is_integer() { INTEGER } else { of };
                Ok(vec![whole(exact(&types[0])), places.clone()])
            }
            _ if self.is_exact(types) => Ok(types.iter().map(exact).collect()),
            Doubles::None => Err(undefined(self.name, types)),
            _ => Ok(vec![DataType::Float64; types.len()]),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(match self.numerics {
            Numerics::Placed(placing) if self.is_exact(types) => {
                placing.type_of(&types[0], Some(0))
            }
            _ if self.is_exact(types) => DataType::Decimal256(WIDE_NUMERIC, MAX_SCALE),
            _ => DataType::Float64,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let of = match (self.numerics, args.scalar_arguments.get(1)) {
            (Numerics::Placed(placing), Some(places)) => {
                placing.type_of(&types[0], places.and_then(placing::constant))
            }
            _ => self.return_type(&types)?,
        };
        Ok(Arc::new(Field::new(self.name, of, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let to = args.return_field.data_type();
        match (self.numerics, self.doubles) {
            (Numerics::Placed(placing), _) if self.is_exact(&types) => {
                over_columns(&args.args, args.number_rows, |columns, _| placing.of(columns, to))
            }
            (Numerics::Computed(of), _) if self.is_exact(&types) => computed(&args, |numbers| {
                let numbers: Vec<Decimal> = numbers.iter().map(|number| number.shown()).collect();
                of(&numbers).map_err(no_value)
            }),
            (_, Doubles::One(of)) => over_columns(&args.args, args.number_rows, |columns, _| {
                let values = columns[0].as_primitive::<Float64Type>();
                let of = |x: f64| of(x).map(plain).map_err(Into::into);
                let values: Float64Array = try_unary::<_, _, Float64Type>(values, of)?;
                Ok(Arc::new(values) as ArrayRef)
            }),
            (_, Doubles::Two(of)) => over_columns(&args.args, args.number_rows, |columns, _| {
                let [x, y] = [0, 1].map(|at: usize| columns[at].as_primitive::<Float64Type>());
                let values: Float64Array = try_binary(x, y, |x, y| Ok(plain(of(x, y)?)))?;
                Ok(Arc::new(values) as ArrayRef)
            }),
            (_, Doubles::None) => Err(undefined(self.name, &types)),
        }
    }
}

/// NaN has one form.
fn plain(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn no_value(why: Undefined) -> Error {
    match why {
        Undefined::Overflow => failed(DecimalError::Overflow),
        Undefined::DivisionByZero => failed(DecimalError::DivisionByZero),
        Undefined::RootOfNegative => doubles::root_of_negative(),
        Undefined::LogOfZero => doubles::log_of("zero"),
        Undefined::LogOfNegative => doubles::log_of("a negative number"),
        Undefined::ZeroToNegative => doubles::zero_to_negative(),
        Undefined::NegativeToFraction => doubles::negative_to_fraction(),
    }
}
