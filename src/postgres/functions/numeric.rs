//! `/`, `*` and `%` on numerics, as functions with Postgres's results.
//!
//! DataFusion's own operators work in 38 digits and give a quotient four places more than its
//! dividend; Postgres gives it at least 16 significant digits. Arrow's decimals have one scale for
//! a whole column, so the result is a Decimal256 with room for all digits that Postgres would give,
//! and each value is rounded where Postgres rounds it:
//!
//! | operation       | result                                                                     |
//! |-----------------|----------------------------------------------------------------------------|
//! | `a / b`         | 38 digits before and 38 after the point                                    |
//! | `a * b`         | DataFusion's where 38 digits hold it; else the places of both, at most 38  |
//! | `a % b`         | DataFusion's, but for such results and for numerics without a fixed scale  |
//!
//! A precision of 76 ([`WIDE_NUMERIC`]) says that the numeric is shown without the zeros at its
//! end: `10 / 4.0` is `2.5`, where Postgres shows `2.5000000000000000`. What does not fit 76 digits
//! is 22003.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, SqlState};
use crate::types::decimal::{self, Decimal, DecimalError, MAX_SCALE};
use crate::types::{WIDE_NUMERIC, is_free_numeric};

/// Which operator it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DecimalOp {
    Divide,
    Multiply,
    Remainder,
}

/// The operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Numeric {
    op: DecimalOp,
    signature: Signature,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
    [DecimalOp::Divide, DecimalOp::Multiply, DecimalOp::Remainder].map(|op| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Numeric { op, signature }))
    })
});

/// The function that does what the operator is to do with operands of these types; `None` where
/// DataFusion's operator does the same.
pub(crate) fn replacement(
    op: Operator,
    left: &DataType,
    right: &DataType,
) -> Option<Arc<ScalarUDF>> {
    let (l, r) = (DecimalShape::of(left)?, DecimalShape::of(right)?);
    if !l.is_decimal && !r.is_decimal {
        return None;
    }
    let is_wide = l.is_wide || r.is_wide;
    let op = match op {
        Operator::Divide => DecimalOp::Divide,
        Operator::Multiply if is_wide || l.precision + r.precision > 38 => DecimalOp::Multiply,
        Operator::Modulo if is_wide || l.is_free || r.is_free => DecimalOp::Remainder,
        _ => return None,
    };
    Some(FUNCTIONS[op as usize].clone())
}

/// The operator that a call of such a function is when what it is given has turned out to be a double.
pub(crate) fn of_doubles(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let numeric = call.func.inner().downcast_ref::<Numeric>()?;
    let is_double = |arg: &Expr| arg.get_type(schema).is_ok_and(|of| of.is_floating());
    let [left, right] = &call.args[..] else { return None };
    if !is_double(left) && !is_double(right) {
        return None;
    }
    let op = match numeric.op {
        DecimalOp::Divide => Operator::Divide,
        DecimalOp::Multiply => Operator::Multiply,
        DecimalOp::Remainder => Operator::Modulo,
    };
    let double =
        |side: &Expr| Box::new(Expr::Cast(Cast::new(Box::new(side.clone()), DataType::Float64)));
    Some(Expr::BinaryExpr(BinaryExpr { left: double(left), op, right: double(right) }))
}

/// A call of such a function.
pub(crate) fn call(function: Arc<ScalarUDF>, left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left, right]))
}

/// An operand's type.
struct DecimalShape {
    precision: u8,
    scale: i8,
    is_decimal: bool,
    /// More than 128 bits.
    is_wide: bool,
    /// No fixed number of places: a value shows those it has.
    is_free: bool,
}

impl DecimalShape {
    fn of(data_type: &DataType) -> Option<DecimalShape> {
        let integer = |precision| DecimalShape {
            precision,
            scale: 0,
            is_decimal: false,
            is_wide: false,
            is_free: false,
        };
        Some(match data_type {
            DataType::Int8 | DataType::UInt8 => integer(3),
            DataType::Int16 | DataType::UInt16 => integer(5),
            DataType::Int32 | DataType::UInt32 => integer(10),
            DataType::Int64 => integer(19),
            DataType::UInt64 => integer(20),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
                if (0..=MAX_SCALE).contains(s) =>
            {
                let is_free = is_free_numeric(data_type);
                DecimalShape { precision: *p, scale: *s, is_decimal: true, is_wide: false, is_free }
            }
            DataType::Decimal256(p, s) if (0..=MAX_SCALE).contains(s) => {
                let is_free = is_free_numeric(data_type);
                DecimalShape { precision: *p, scale: *s, is_decimal: true, is_wide: true, is_free }
            }
            _ => return None,
        })
    }
}

impl Numeric {
    fn symbol(&self) -> &'static str {
        match self.op {
            DecimalOp::Divide => "/",
            DecimalOp::Multiply => "*",
            DecimalOp::Remainder => "%",
        }
    }

    /// Precision and scale of the result.
    fn result(&self, left: &DecimalShape, right: &DecimalShape) -> (u8, i8) {
        let is_free = left.is_free || right.is_free;
        match self.op {
            DecimalOp::Divide => (WIDE_NUMERIC, MAX_SCALE),
            DecimalOp::Multiply => {
                let scale = (left.scale + right.scale).min(MAX_SCALE);
                let precision = if is_free {
                    WIDE_NUMERIC
                } else {
                    left.precision.saturating_add(right.precision)
                };
                (precision.min(if is_free { WIDE_NUMERIC } else { WIDE_NUMERIC - 1 }), scale)
            }
            DecimalOp::Remainder => {
                (if is_free { WIDE_NUMERIC } else { WIDE_NUMERIC - 1 }, left.scale.max(right.scale))
            }
        }
    }

    fn one(&self, left: Operand, right: Operand) -> Result<Decimal, DecimalError> {
        match self.op {
            DecimalOp::Divide => {
                let (left, right) = (left.shown(), right.shown());
                decimal::divided(left, right)
            }
            DecimalOp::Multiply => decimal::multiplied(left.number, right.number),
            DecimalOp::Remainder => decimal::remainder(left.number, right.number),
        }
    }
}

/// A value, and whether its scale says how many places it shows.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) number: Decimal,
    is_free: bool,
}

impl Operand {
    /// With the places that it shows.
    pub(super) fn shown(self) -> Decimal {
        if self.is_free { self.number.trimmed() } else { self.number }
    }
}

impl ScalarUDFImpl for Numeric {
    fn name(&self) -> &str {
        match self.op {
            DecimalOp::Divide => "numeric_div",
            DecimalOp::Multiply => "numeric_mul",
            DecimalOp::Remainder => "numeric_mod",
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => format!("{left} {} {right}", self.symbol()),
            _ => self.name().to_owned(),
        })
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => super::chains::name(left, self.symbol(), right),
            _ => self.name().to_owned(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (Some(left), Some(right)) = (DecimalShape::of(&types[0]), DecimalShape::of(&types[1]))
        else {
            return Err(Error::internal(format!(
                "{} of {} and {}",
                self.name(),
                types[0],
                types[1]
            ))
            .into());
        };
        let (precision, scale) = self.result(&left, &right);
        Ok(DataType::Decimal256(precision, scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        computed(&args, |sides| self.one(sides[0], sides[1]).map_err(failed))
    }
}

/// A column of what `one` makes of the values of each row, where none of them is NULL.
pub(super) fn computed(
    args: &ScalarFunctionArgs,
    one: impl Fn(&[Operand]) -> crate::error::Result<Decimal>,
) -> Result<ColumnarValue> {
    let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let DataType::Decimal256(precision, scale) = *args.return_field.data_type() else {
        return Err(Error::internal("a numeric operator whose result is no numeric").into());
    };
    let rows = if is_scalar { 1 } else { args.number_rows };
    let columns =
        args.args.iter().map(|arg| DecimalColumn::new(arg, rows)).collect::<Result<Vec<_>>>()?;
    let end = decimal::power(u32::from(precision)).unwrap_or(i256::MAX);
    let mut values = Vec::with_capacity(rows);
    let mut operands = Vec::with_capacity(columns.len());
    for row in 0..rows {
        operands.clear();
        operands.extend(columns.iter().map_while(|column| column.value(row)));
        if operands.len() < columns.len() {
            values.push(None);
            continue;
        }
        let value = one(&operands)?.rescaled(scale).map_err(failed)?;
        if value >= end || value <= end.wrapping_neg() {
            return Err(failed(DecimalError::Overflow).into());
        }
        values.push(Some(value));
    }
    let array = Decimal256Array::from_iter(values).with_precision_and_scale(precision, scale)?;
    let array: ArrayRef = Arc::new(array);
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
    } else {
        ColumnarValue::Array(array)
    })
}

pub(super) fn failed(failure: DecimalError) -> Error {
    match failure {
        DecimalError::DivisionByZero => Error::new(SqlState::DivisionByZero, "division by zero"),
        DecimalError::Overflow => {
            Error::new(SqlState::OutOfRange, "value overflows numeric format")
        }
    }
}

/// One side of the operator.
struct DecimalColumn {
    array: ArrayRef,
    scale: i8,
    is_free: bool,
    /// One value for all rows.
    is_constant: bool,
}

impl DecimalColumn {
    fn new(value: &ColumnarValue, rows: usize) -> Result<DecimalColumn> {
        let is_constant = matches!(value, ColumnarValue::Scalar(_));
        let array = value.to_array(if is_constant { 1 } else { rows })?;
        let shape = DecimalShape::of(array.data_type());
        let Some(DecimalShape { scale, is_free, is_wide, .. }) = shape else {
            return Err(
                Error::internal(format!("a numeric operator on {}", array.data_type())).into()
            );
        };
        let array = if is_wide { array } else { cast(&array, &DataType::Decimal128(38, scale))? };
        Ok(DecimalColumn { array, scale, is_free, is_constant })
    }

    fn value(&self, row: usize) -> Option<Operand> {
        let row = if self.is_constant { 0 } else { row };
        if self.array.is_null(row) {
            return None;
        }
        let value = match self.array.as_primitive_opt::<Decimal128Type>() {
            Some(narrow) => i256::from_i128(narrow.value(row)),
            None => self.array.as_primitive::<Decimal256Type>().value(row),
        };
        Some(Operand { number: Decimal::new(value, self.scale), is_free: self.is_free })
    }
}
