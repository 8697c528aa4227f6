//! Arithmetic that stays in its range: `+ - * /` and unary minus of integers and doubles fail with 22003,
//! and doubles divided by zero with 22012, as in Postgres.
//!
//! DataFusion's operators wrap and give infinities, and it has no setting for that. After types have been
//! coerced the operators become functions over arrow's kernels; what they make of doubles is looked at
//! where it is infinite, zero or no number. These show and name
//! themselves as the operator does, so that nobody sees the difference in a column's name. `||` on
//! text goes the same way, to be bounded in size; casts go theirs ([`cast`](super::cast)).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Datum};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::{add, div, mul, neg, sub};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::analyzed::rewritten;
use super::math::in_range;
use super::scalar::over_columns;
use crate::error::{Error, SqlState};

/// Which operator it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CheckedOp {
    Add,
    Sub,
    Mul,
    Neg,
    Concat,
    Div,
}

/// The operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: CheckedOp,
    signature: Signature,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 6]> = LazyLock::new(|| {
    use CheckedOp::{Add, Concat, Div, Mul, Neg, Sub};
    [Add, Sub, Mul, Neg, Concat, Div].map(|op| {
        let signature =
            Signature::any(if op == CheckedOp::Neg { 1 } else { 2 }, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Checked { op, signature }))
    })
});

impl Checked {
    fn symbol(&self) -> &'static str {
        match self.op {
            CheckedOp::Add => "+",
            CheckedOp::Sub => "-",
            CheckedOp::Mul => "*",
            CheckedOp::Neg => "-",
            CheckedOp::Concat => "||",
            CheckedOp::Div => "/",
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            CheckedOp::Add => "checked_add",
            CheckedOp::Sub => "checked_sub",
            CheckedOp::Mul => "checked_mul",
            CheckedOp::Neg => "checked_neg",
            CheckedOp::Concat => "checked_concat",
            CheckedOp::Div => "checked_div",
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => format!("{left} {} {right}", self.symbol()),
            [one] => format!("(- {one})"),
            _ => self.name().to_owned(),
        })
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => super::chains::name(left, self.symbol(), right),
            [one] => format!("(- {})", one.schema_name()),
            _ => self.name().to_owned(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kernel = match self.op {
            CheckedOp::Add => add,
            CheckedOp::Sub => sub,
            CheckedOp::Mul => mul,
            CheckedOp::Div => div,
            CheckedOp::Neg => return unsigned_nan(negate(&args.args[0])?),
            CheckedOp::Concat => {
                return over_columns(&args.args, args.number_rows, |columns, _| {
                    Ok(super::text::concatenated(&columns[0], &columns[1])?)
                });
            }
        };
        let result = apply(kernel, &args.args[0], &args.args[1])?;
        if result.data_type().is_floating() {
            return check_range(self.op, &args, result);
        }
        Ok(result)
    }
}

/// 22003 where doubles have an infinite result, or zero, that they cannot have; 22012 for a division by
/// zero. NaN has one form, without a sign.
fn check_range(
    op: CheckedOp,
    args: &ScalarFunctionArgs,
    result: ColumnarValue,
) -> Result<ColumnarValue> {
    let wide = |value: &ColumnarValue, rows| cast(&value.to_array(rows)?, &DataType::Float64);
    let rows = match &result {
        ColumnarValue::Array(array) => array.len(),
        ColumnarValue::Scalar(_) => 1,
    };
    let array = result.to_array(rows)?;
    let is_sum = matches!(op, CheckedOp::Add | CheckedOp::Sub);
    let is_strange = |value: f64| !value.is_finite() || value == 0.0 && !is_sum;
    let is_fine = match array.as_primitive_opt::<Float64Type>() {
        Some(doubles) => !doubles.values().iter().any(|value| is_strange(*value)),
        None => {
            let reals = array.as_primitive::<Float32Type>().values().iter();
            !reals.clone().any(|value| is_strange(f64::from(*value)))
        }
    };
    if is_fine {
        return Ok(result);
    }
    let (left, right) = (wide(&args.args[0], rows)?, wide(&args.args[1], rows)?);
    let array = cast(&array, &DataType::Float64)?;
    let [left, right, results] =
        [&left, &right, &array].map(|array| array.as_primitive::<Float64Type>());
    for row in (0..rows).filter(|row| results.is_valid(*row)) {
        let (a, b, value) = (left.value(row), right.value(row), results.value(row));
        if op == CheckedOp::Div && b == 0.0 && !a.is_nan() {
            return Err(Error::new(SqlState::DivisionByZero, "division by zero").into());
        }
        let (may_be_infinite, may_be_zero) = match op {
            CheckedOp::Mul => (a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0),
            CheckedOp::Div => (a.is_infinite(), a == 0.0 || b.is_infinite()),
            _ => (a.is_infinite() || b.is_infinite(), true),
        };
        in_range(value, may_be_infinite, may_be_zero)?;
    }
    unsigned_nan(result)
}

/// NaN in one form, so that it is one key and stands last: an operation that has no number as its result
/// may give one with a sign.
fn unsigned_nan(value: ColumnarValue) -> Result<ColumnarValue> {
    let plain = |array: &ArrayRef| -> ArrayRef {
        match array.data_type() {
            DataType::Float64 => Arc::new(
                array
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }),
            ),
            DataType::Float32 => Arc::new(
                array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }),
            ),
            _ => Arc::clone(array),
        }
    };
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(plain(&array)),
        ColumnarValue::Scalar(scalar) => {
            let one = plain(&scalar.to_array()?);
            ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?)
        }
    })
}

type ArrowKernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

/// A scalar stays a scalar: the kernels have a loop of their own for it.
fn apply(
    kernel: ArrowKernel,
    left: &ColumnarValue,
    right: &ColumnarValue,
) -> Result<ColumnarValue> {
    let result = match (left, right) {
        (ColumnarValue::Array(l), ColumnarValue::Array(r)) => kernel(l, r),
        (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => kernel(l, &r.to_scalar()?),
        (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => kernel(&l.to_scalar()?, r),
        (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => {
            let one = kernel(&l.to_scalar()?, &r.to_scalar()?)
                .map_err(|e| out_of_range(e, &l.data_type()))?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?));
        }
    };
    Ok(ColumnarValue::Array(result.map_err(|error| out_of_range(error, &left.data_type()))?))
}

fn negate(value: &ColumnarValue) -> Result<ColumnarValue> {
    let kind = value.data_type();
    match value {
        ColumnarValue::Array(array) => {
            Ok(ColumnarValue::Array(neg(array.as_ref()).map_err(|e| out_of_range(e, &kind))?))
        }
        ColumnarValue::Scalar(scalar) => {
            let one = neg(scalar.to_array()?.as_ref() as &dyn Array)
                .map_err(|e| out_of_range(e, &kind))?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
        }
    }
}

fn out_of_range(error: ArrowError, kind: &DataType) -> Error {
    let name = match kind {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    match error {
        ArrowError::ArithmeticOverflow(_) => {
            Error::new(SqlState::OutOfRange, format!("{name} out of range"))
        }
        other => other.into(),
    }
}

/// Which of these operators a function is.
fn op_of(function: &ScalarUDF) -> Option<CheckedOp> {
    function.inner().downcast_ref::<Checked>().map(|checked| checked.op)
}

/// An operator by how it is written.
#[cfg(test)]
pub(super) fn call_of(symbol: &str, left: Expr, right: Expr) -> Expr {
    let is_it = |function: &&Arc<ScalarUDF>| {
        function.inner().downcast_ref::<Checked>().is_some_and(|checked| checked.symbol() == symbol)
    };
    FUNCTIONS.iter().find(is_it).unwrap().call(vec![left, right])
}

/// Replaces the integer operators and the casts of a plan.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, checked)
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}

fn checked(expr: Expr, schema: &datafusion::common::DFSchema) -> Transformed<Expr> {
    // A column of an outer query is not in this schema: such an operator keeps its kernel. What has
    // been replaced already has the type that it was replaced for: the links of a chain do not ask
    // each other.
    let replaced = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) => op_of(&call.func),
        _ => None,
    };
    let kind = |expr: &Expr| {
        let mut first = expr;
        while let Expr::ScalarFunction(call) = first
            && op_of(&call.func).is_some()
        {
            first = &call.args[0];
        }
        first.get_type(schema).unwrap_or(DataType::Null)
    };
    let integer = |expr: &Expr| kind(expr).is_integer();
    let is_floating = |expr: &Expr| matches!(kind(expr), DataType::Float32 | DataType::Float64);
    let call = |op: CheckedOp, args| {
        Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
            FUNCTIONS[op as usize].clone(),
            args,
        )))
    };
    let is_text = |expr: &Expr| match replaced(expr) {
        Some(op) => op == CheckedOp::Concat,
        None => matches!(expr.get_type(schema), Ok(DataType::Utf8)),
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })
            if is_text(&left) && is_text(&right) =>
        {
            call(CheckedOp::Concat, vec![*left, *right])
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if integer(&left) && integer(&right) || is_floating(&left) && is_floating(&right) =>
        {
            let op = match op {
                Operator::Divide => CheckedOp::Div,
                Operator::Plus => CheckedOp::Add,
                Operator::Minus => CheckedOp::Sub,
                Operator::Multiply => CheckedOp::Mul,
                _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            };
            call(op, vec![*left, *right])
        }
        Expr::Negative(inner) if integer(&inner) || is_floating(&inner) => {
            call(CheckedOp::Neg, vec![*inner])
        }
        Expr::Cast(cast) => match super::cast::replaced(cast, schema) {
            Ok(function) => Transformed::yes(function),
            Err(cast) => Transformed::no(Expr::Cast(cast)),
        },
        other => Transformed::no(other),
    }
}
