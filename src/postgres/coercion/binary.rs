//! Operators between two expressions, as they are planned from SQL: what must be known before
//! DataFusion looks at their types.
//!
//! - A text constant has the type of the other side (Postgres manual, 10.2): `'5' + 5`, `id =
//!   '123e…'`, `took > '1 day'`.
//! - A REAL beside an integer or a numeric is a double.
//! - Operators on JSON and on times are functions (`documents`).

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, IntervalUnit, TimeUnit, i256,
};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{decimals, documents};
use crate::error::Error;
use crate::postgres::functions::{self, ArgumentType, missing_operator};
use crate::postgres::syntax::numbers::without_exponent;
use crate::types::SqlType;
use crate::types::decimal::MAX_SCALE;

/// To be asked before all others.
#[derive(Debug)]
pub struct Binary;

impl ExprPlanner for Binary {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some(function) = documents::operator(&expr, schema)? {
            return Ok(PlannerResult::Planned(function));
        }
        if let Some(planned) = super::arrays::planned(&expr.op, &expr.left, &expr.right, schema)? {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some(planned) =
            functions::time_operator(&expr.op.to_string(), &expr.left, &expr.right, schema)?
        {
            return Ok(PlannerResult::Planned(planned));
        }
        check_bits(&expr, schema)?;
        widen_real(&mut expr, schema);
        meet(&mut expr, schema)?;
        if let Some(planned) = of_wide(&expr, schema) {
            return Ok(PlannerResult::Planned(planned));
        }
        if is_sum_or_comparison(&expr.op) {
            decimals::widen([&mut expr.left, &mut expr.right], schema);
        }
        let (constant, other) = match (is_untyped(&expr.left), is_untyped(&expr.right)) {
            (true, false) => (&mut expr.left, expr.right.get_type(schema)),
            (false, true) => (&mut expr.right, expr.left.get_type(schema)),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if let Some(wanted) = other.ok().and_then(|other| constant_type(&expr.op, other)) {
            let number = match (&*constant, wanted.is_decimal()) {
                (Expr::Literal(ScalarValue::Utf8(Some(text)), _), true) => numeric(text),
                _ => None,
            };
            if let Some(number) = number {
                *constant = Expr::Literal(number, None);
                return Ok(PlannerResult::Original(expr));
            }
            *constant = Expr::Cast(Cast::new(Box::new(std::mem::take(constant)), wanted));
        }
        Ok(PlannerResult::Original(expr))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        Ok(match documents::subscript(&access, schema)? {
            Some(function) => PlannerResult::Planned(function),
            None => PlannerResult::Original(access),
        })
    }
}

fn is_sum_or_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, Minus, NotEq, Plus};
    matches!(op, Plus | Minus | Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// What is compared has a type in common: beside an interval a time of day is one, numbers and times have
/// none. `%` is of exact numbers.
fn meet(expr: &mut RawBinaryExpr, schema: &DFSchema) -> Result<()> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, Modulo, NotEq};
    if !matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Modulo) {
        return Ok(());
    }
    let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
        return Ok(());
    };
    let is_moment = |of: &DataType| {
        matches!(of, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..))
    };
    let is_missing = match expr.op {
        Modulo => {
            left.is_numeric() && right.is_numeric() && (left.is_floating() || right.is_floating())
        }
        _ => is_moment(&left) && right.is_numeric() || left.is_numeric() && is_moment(&right),
    };
    if is_missing {
        let type_of = |side: &Expr| Ok::<_, Error>(SqlType::from_field(&side.to_field(schema)?.1));
        let (left, right) = (type_of(&expr.left)?, type_of(&expr.right)?);
        return Err(documents::no_operator(&expr.op.to_string(), &left, &right).into());
    }
    let time = match (&left, &right) {
        (DataType::Time64(_), DataType::Interval(_) | DataType::Duration(_)) => &mut expr.left,
        (DataType::Interval(_) | DataType::Duration(_), DataType::Time64(_)) => &mut expr.right,
        _ => return Ok(()),
    };
    let own = Box::new(std::mem::take(time));
    let interval = Cast::new(own, DataType::Interval(IntervalUnit::MonthDayNano));
    *time = functions::of_day(&interval, schema).unwrap_or(Expr::Cast(interval));
    Ok(())
}

/// A product of more digits than 128 bits have, and a quotient or rest of numerics of which one has 256, as it
/// will be computed: DataFusion would add up their places, and has no type for what has too many.
fn of_wide(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let operator = match expr.op {
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    };
    let (left, right) = (expr.left.get_type(schema).ok()?, expr.right.get_type(schema).ok()?);
    let is_wide = [&left, &right].iter().any(|of| matches!(of, DataType::Decimal256(..)));
    if !is_wide && operator != Operator::Multiply {
        return None;
    }
    let function = functions::numeric_operator(operator, &left, &right)?;
    Some(functions::numeric_call(function, expr.left.clone(), expr.right.clone()))
}

/// A REAL beside an integer or a numeric is a double, as are these (Postgres manual, 10.2).
fn widen_real(expr: &mut RawBinaryExpr, schema: &DFSchema) {
    use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Multiply, NotEq, Plus};
    if !matches!(expr.op, Plus | Minus | Multiply | Divide | Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return;
    }
    // Of a chain of operators the last operand tells enough: a REAL in it beside something else has been
    // widened already.
    fn kind(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
        match expr {
            Expr::BinaryExpr(chain) => kind(&chain.right, schema),
            other => other.get_type(schema),
        }
    }
    let kinds = (kind(&expr.left, schema), kind(&expr.right, schema));
    let real = match kinds {
        (Ok(DataType::Float32), Ok(of)) if of.is_integer() || of.is_decimal() => &mut expr.left,
        (Ok(of), Ok(DataType::Float32)) if of.is_integer() || of.is_decimal() => &mut expr.right,
        _ => return,
    };
    *real = Expr::Cast(Cast::new(Box::new(std::mem::take(real)), DataType::Float64));
}

/// A text constant.
pub fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _))
}

/// Only integers have bits.
fn check_bits(expr: &RawBinaryExpr, schema: &DFSchema) -> Result<()> {
    use BinaryOperator::{BitwiseAnd, BitwiseOr, BitwiseXor, PGBitwiseXor};
    if !matches!(expr.op, BitwiseAnd | BitwiseOr | BitwiseXor | PGBitwiseXor) {
        return Ok(());
    }
    let is_fraction =
        |side: &Expr| side.get_type(schema).is_ok_and(|of| of.is_floating() || of.is_decimal());
    if !is_fraction(&expr.left) && !is_fraction(&expr.right) {
        return Ok(());
    }
    let side = |side: &Expr| ArgumentType::of(side, schema).map(|of| of.shown());
    let (left, right) = (side(&expr.left)?, side(&expr.right)?);
    Err(missing_operator(&left, &expr.op.to_string(), &right).into())
}

/// The text constant that a column of a plan is.
pub(super) fn constant(side: &LogicalPlan, at: usize) -> Option<Expr> {
    match side {
        LogicalPlan::SubqueryAlias(alias) => constant(&alias.input, at),
        LogicalPlan::Projection(projection) => {
            projection.expr.get(at).map(|expr| expr.clone().unalias()).filter(is_untyped)
        }
        _ => None,
    }
}

/// A numeric with the digits that are written, not those of what stands beside it.
fn numeric(text: &str) -> Option<ScalarValue> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let plain =
        if digits.contains(['e', 'E']) { without_exponent(digits)? } else { digits.to_owned() };
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let precision = u8::try_from(whole.len() + fraction.len()).ok()?;
    if precision == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let scale = i8::try_from(fraction.len()).ok().filter(|scale| *scale <= MAX_SCALE)?;
    let value = format!("{sign}{whole}{fraction}");
    Some(if precision <= DECIMAL128_MAX_PRECISION {
        ScalarValue::Decimal128(Some(value.parse().ok()?), precision, scale)
    } else if precision <= DECIMAL256_MAX_PRECISION {
        ScalarValue::Decimal256(i256::from_string(&value), precision, scale)
    } else {
        return None;
    })
}

/// A cast to NUMERIC without precision that changes nothing: of a numeric, and of a number in quotes, which
/// keeps the places that it shows.
pub(super) fn kept(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    if SqlType::from_field(&cast.field) != SqlType::Decimal(None) {
        return None;
    }
    match cast.expr.as_ref() {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            numeric(text).map(|number| Expr::Literal(number, None))
        }
        other => other.get_type(schema).is_ok_and(|of| of.is_decimal()).then(|| other.clone()),
    }
}

/// The type of a text constant beside an expression of the type `other`; `None` where DataFusion
/// finds the same.
fn constant_type(op: &BinaryOperator, other: DataType) -> Option<DataType> {
    use BinaryOperator::StringConcat;
    use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    match (op, &other) {
        (Plus | Minus | Multiply | Divide | Modulo, number) if number.is_numeric() => Some(other),
        // What is added to a moment is an interval; what is taken from it is a moment.
        (
            Plus,
            DataType::Timestamp(..)
            | DataType::Time64(_)
            | DataType::Interval(_)
            | DataType::Duration(_),
        ) => Some(interval),
        (Minus, DataType::Timestamp(..) | DataType::Date32 | DataType::Interval(_)) => Some(other),
        // Before its types are looked at, the difference of two moments is a duration.
        (Eq | NotEq | Lt | LtEq | Gt | GtEq, DataType::Interval(_) | DataType::Duration(_)) => {
            Some(interval)
        }
        (StringConcat, DataType::Binary) => Some(other),
        (Eq | NotEq | Lt | LtEq | Gt | GtEq, _) => compared_as(&other),
        _ => None,
    }
}

/// The type of a text constant that is compared with this one, where DataFusion and arrow do not
/// compare them as Postgres would. Moments they would compare in nanoseconds, which only has the years
/// from 1677 to 2262.
pub fn compared_as(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::FixedSizeBinary(16) | DataType::Binary | DataType::List(_) => {
            Some(data_type.clone())
        }
        DataType::Timestamp(_, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => None,
    }
}
