//! Integer arithmetic that does not wrap: `+ - *` and unary minus fail with 22003, as in Postgres.
//!
//! DataFusion's operators wrap, and it has no setting for that. After types have been coerced the
//! operators on integers become functions over arrow's checking kernels. These show and name
//! themselves as the operator does, so that nobody sees the difference in a column's name. `||` on
//! text goes the same way, to be bounded in size; casts go theirs ([`cast`](super::cast)).

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, mul, neg, sub};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

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
}

/// The operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: CheckedOp,
    signature: Signature,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 5]> = LazyLock::new(|| {
    [CheckedOp::Add, CheckedOp::Sub, CheckedOp::Mul, CheckedOp::Neg, CheckedOp::Concat].map(|op| {
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
            CheckedOp::Neg => return negate(&args.args[0]),
            CheckedOp::Concat => {
                return over_columns(&args.args, args.number_rows, |columns, _| {
                    Ok(super::text::concatenated(&columns[0], &columns[1])?)
                });
            }
        };
        apply(kernel, &args.args[0], &args.args[1])
    }
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
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|plan| {
            let mut schema = datafusion::common::DFSchema::empty();
            for input in plan.inputs() {
                schema.merge(input.schema());
            }
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| Ok(checked(expr, &schema)))?;
                if rewritten.transformed {
                    Ok(rewritten.update_data(|expr| name.restore(expr)))
                } else {
                    Ok(rewritten)
                }
            })
        })?;
        Ok(done.data)
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
    let integer = |expr: &Expr| match replaced(expr) {
        Some(op) => op != CheckedOp::Concat,
        None => matches!(expr.get_type(schema), Ok(kind) if kind.is_integer()),
    };
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
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if integer(&left) && integer(&right) => {
            let op = match op {
                Operator::Plus => CheckedOp::Add,
                Operator::Minus => CheckedOp::Sub,
                Operator::Multiply => CheckedOp::Mul,
                _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            };
            call(op, vec![*left, *right])
        }
        Expr::Negative(inner) if integer(&inner) => call(CheckedOp::Neg, vec![*inner]),
        Expr::Cast(cast) => match super::cast::replaced(cast, schema) {
            Ok(function) => Transformed::yes(function),
            Err(cast) => Transformed::no(Expr::Cast(cast)),
        },
        other => Transformed::no(other),
    }
}
