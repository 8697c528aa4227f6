//! `<<`, `>>` and `~`, each by the width of its left side's type: a SMALLINT is shifted as an INT and
//! cut, and only the last five bits of the distance count, or six for a BIGINT.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Int16Array, Int32Array, Int64Array};
use arrow::compute::{binary, cast};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::super::scalar::over_columns;
use super::undefined;
use crate::error::{Error, SqlState};
use crate::types::SqlType;

/// Which operator it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum BitOp {
    Left,
    Right,
    Not,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bits {
    op: BitOp,
    signature: Signature,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
    [BitOp::Left, BitOp::Right, BitOp::Not].map(|op| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Bits { op, signature }))
    })
});

/// `~`, by its name.
pub(super) fn not() -> ScalarUDF {
    FUNCTIONS[BitOp::Not as usize].as_ref().clone()
}

/// A shift as the function that does it; `Err`: any other operator, as it was.
pub(crate) fn replacement(
    binary: BinaryExpr,
    schema: &DFSchema,
) -> Result<std::result::Result<Expr, BinaryExpr>> {
    let op = match binary.op {
        Operator::BitwiseShiftLeft => BitOp::Left,
        Operator::BitwiseShiftRight => BitOp::Right,
        _ => return Ok(Err(binary)),
    };
    let types = (binary.left.get_type(schema), binary.right.get_type(schema));
    if let (Ok(left), Ok(right)) = types
        && ![&left, &right].iter().all(|of| of.is_integer() || of.is_null())
    {
        let name = |of: DataType| SqlType::from_field(&arrow::datatypes::Field::new("", of, true));
        let symbol = if op == BitOp::Left { "<<" } else { ">>" };
        let message = format!("operator does not exist: {} {symbol} {}", name(left), name(right));
        return Err(Error::new(SqlState::UndefinedFunction, message)
            .hint("An integer is shifted by an INT.")
            .into());
    }
    let function = Arc::clone(&FUNCTIONS[op as usize]);
    let args = vec![*binary.left, *binary.right];
    Ok(Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
}

impl ScalarUDFImpl for Bits {
    fn name(&self) -> &str {
        match self.op {
            BitOp::Left => "bit_shift_left",
            BitOp::Right => "bit_shift_right",
            BitOp::Not => "bit_not",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let whole = |of: &DataType| match of {
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => Some(DataType::Int16),
            DataType::UInt16 | DataType::Int32 | DataType::Null => Some(DataType::Int32),
            of if of.is_integer() => Some(DataType::Int64),
            _ => None,
        };
        match (self.op, types) {
            (BitOp::Not, [of]) => whole(of).map(|of| vec![of]),
            (BitOp::Left | BitOp::Right, [of, _]) => whole(of).map(|of| vec![of, DataType::Int32]),
            _ => None,
        }
        .ok_or_else(|| undefined(self.name(), types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, args.number_rows, |columns, _| match self.op {
            BitOp::Not => Ok(inverted(&columns[0])),
            BitOp::Left => shifted(columns, i64::wrapping_shl, i32::wrapping_shl),
            BitOp::Right => shifted(columns, i64::wrapping_shr, i32::wrapping_shr),
        })
    }
}

fn shifted(
    columns: &[ArrayRef],
    wide: fn(i64, u32) -> i64,
    narrow: fn(i32, u32) -> i32,
) -> Result<ArrayRef> {
    let by = columns[1].as_primitive::<Int32Type>();
    Ok(match columns[0].data_type() {
        DataType::Int64 => {
            let shift = |of: i64, by: i32| wide(of, by as u32);
            let shifted: Int64Array = binary(columns[0].as_primitive::<Int64Type>(), by, shift)?;
            Arc::new(shifted)
        }
        of => {
            let whole = cast(&columns[0], &DataType::Int32)?;
            let shift = |of: i32, by: i32| narrow(of, by as u32);
            let shifted: Int32Array = binary(whole.as_primitive::<Int32Type>(), by, shift)?;
            match of {
                DataType::Int16 => {
                    let cut: Int16Array = shifted.unary::<_, Int16Type>(|value| value as i16);
                    Arc::new(cut)
                }
                _ => Arc::new(shifted),
            }
        }
    })
}

fn inverted(of: &ArrayRef) -> ArrayRef {
    match of.data_type() {
        DataType::Int16 => Arc::new(of.as_primitive::<Int16Type>().unary::<_, Int16Type>(|v| !v)),
        DataType::Int32 => Arc::new(of.as_primitive::<Int32Type>().unary::<_, Int32Type>(|v| !v)),
        _ => Arc::new(of.as_primitive::<Int64Type>().unary::<_, Int64Type>(|v| !v)),
    }
}
