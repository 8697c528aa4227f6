//! `+ - * /` on dates, times, timestamps and intervals, as functions (Postgres manual, 9.9).
//!
//! DataFusion's own give the difference of two moments in hours, know no infinity and take a date
//! for nanoseconds. Which form of an operator is meant is found as for functions, but that a side
//! without a type has that of the other one where there is such a form.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::try_binary;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, FieldRef, Int32Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType as Interval, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::super::routines::resolve::{GivenArgument, best};
use super::forms::{ArgumentsOf, Form, FormValue, OperatorForm, ok, operator_form, over, strict};
use super::intervals::{divided, times};
use super::polymorphic::{cast, missing_operator};
use crate::error::{Error, Result, SqlState};
use crate::time::{DAY_MICROS, SECOND_MICROS};
use crate::types::calendar::{self, END_OF_DATES, FIRST_DAY, date_of, days_in_month};
use crate::types::calendar::{days_of, is_finite};
use crate::types::{SqlType, Zone};

/// The operators by their functions' names.
const NAMES: [(&str, Operator); 4] = [
    ("time_plus", Operator::Plus),
    ("time_minus", Operator::Minus),
    ("time_times", Operator::Multiply),
    ("time_divided", Operator::Divide),
];

/// Each form, which is a function by itself: of a long chain no link has to be found again.
static FORMS: LazyLock<Vec<OperatorForm>> =
    LazyLock::new(|| forms().into_iter().map(operator_form).collect());

fn forms() -> Vec<Form> {
    vec![
        strict("time_plus(date, int) date", |a| ok(days_after(a.int(0), a.int(1))?)),
        strict("time_plus(int, date) date", |a| ok(days_after(a.int(1), a.int(0))?)),
        strict("time_minus(date, int) date", |a| ok(days_after(a.int(0), -a.int(1))?)),
        over("time_minus(date, date) int", |columns, _| {
            of_both::<Date32Type, Date32Type, Int32Type>(columns, days_apart)
        }),
        strict("time_plus(date, time) timestamp", |a| ok(at_time(a.int(0), a.int(1))?)),
        strict("time_plus(time, date) timestamp", |a| ok(at_time(a.int(1), a.int(0))?)),
        strict("time_plus(date, interval) timestamp", |a| {
            ok(moved(midnight(a.int(0))?, a.interval(1), &Zone::Utc)?)
        }),
        strict("time_plus(interval, date) timestamp", |a| {
            ok(moved(midnight(a.int(1))?, a.interval(0), &Zone::Utc)?)
        }),
        strict("time_minus(date, interval) timestamp", |a| {
            ok(moved(midnight(a.int(0))?, negated(a.interval(1))?, &Zone::Utc)?)
        }),
        strict("time_plus(timestamp, interval) timestamp", later),
        strict("time_plus(timestamptz, interval) timestamptz", later),
        strict("time_plus(interval, timestamp) timestamp", later_by),
        strict("time_plus(interval, timestamptz) timestamptz", later_by),
        strict("time_minus(timestamp, interval) timestamp", earlier),
        strict("time_minus(timestamptz, interval) timestamptz", earlier),
        over("time_minus(timestamp, timestamp) interval", moments_apart),
        over("time_minus(timestamptz, timestamptz) interval", moments_apart),
        strict("time_plus(time, interval) time", |a| ok(of_clock(a.int(0), a.interval(1), 1))),
        strict("time_plus(interval, time) time", |a| ok(of_clock(a.int(1), a.interval(0), 1))),
        strict("time_minus(time, interval) time", |a| ok(of_clock(a.int(0), a.interval(1), -1))),
        strict("time_minus(time, time) interval", |a| {
            ok(IntervalMonthDayNano::new(0, 0, (a.int(0) - a.int(1)) * 1_000))
        }),
        over("time_plus(interval, interval) interval", |columns, _| {
            of_both::<Interval, Interval, Interval>(columns, sum)
        }),
        over("time_minus(interval, interval) interval", |columns, _| {
            of_both::<Interval, Interval, Interval>(columns, |a, b| sum(a, negated(b)?))
        }),
        strict("time_times(interval, double) interval", |a| ok(times(a.interval(0), a.double(1))?)),
        strict("time_times(double, interval) interval", |a| ok(times(a.interval(1), a.double(0))?)),
        strict("time_divided(interval, double) interval", |a| {
            ok(divided(a.interval(0), a.double(1))?)
        }),
    ]
}

/// The operator as a function, by how it is written; None: it is not of times.
///
/// # Errors
/// 42883 if there is no such operator, 42725 if it could be several.
pub(crate) fn time_operator(
    symbol: &str,
    left: &Expr,
    right: &Expr,
    schema: &DFSchema,
) -> DfResult<Option<Expr>> {
    let Some((name, _)) = NAMES.iter().find(|(_, op)| op.to_string() == symbol) else {
        return Ok(None);
    };
    // The right side first: the left one may be a long chain of numbers, whose links would each ask
    // for the type of the rest.
    let Some((right_field, right_is_time)) = side(right, schema) else { return Ok(None) };
    if matches!(left, Expr::BinaryExpr(_)) && !right_is_time {
        return Ok(None);
    }
    let Some((left_field, left_is_time)) = side(left, schema) else { return Ok(None) };
    if !left_is_time && !right_is_time {
        return Ok(None);
    }
    let given = [given(left, &left_field), given(right, &right_field)];
    let form = meant(name, symbol, &given)?;
    let sides = [(left, left_field), (right, right_field)].into_iter().zip(&given);
    let args = sides.zip(&form.takes).map(|(((side, field), given), wanted)| {
        let is_there = *field.data_type() == wanted.data_type()
            // That is no cast which DataFusion knows.
            || given.sql_type == SqlType::Time && *wanted == SqlType::Interval;
        match side {
            Expr::Placeholder(place) if place.field.is_none() => {
                let field = Arc::new(wanted.to_field("", true));
                Expr::Placeholder(Placeholder::new_with_field(place.id.clone(), Some(field)))
            }
            side if is_there => side.clone(),
            side => cast(side.clone(), wanted),
        }
    });
    let call = ScalarFunction::new_udf(Arc::clone(&form.function), args.collect());
    Ok(Some(Expr::ScalarFunction(call)))
}

/// What a side is, and whether that is a time; None: of such types only DataFusion has operators.
fn side(expr: &Expr, schema: &DFSchema) -> Option<(FieldRef, bool)> {
    let field = expr.to_field(schema).ok()?.1;
    let is_time = match field.data_type() {
        DataType::Timestamp(unit, _) | DataType::Time64(unit) => {
            (*unit == TimeUnit::Microsecond).then_some(true)?
        }
        DataType::Duration(_) => return None,
        other => matches!(other, DataType::Date32 | DataType::Interval(_)),
    };
    Some((field, is_time))
}

fn given(side: &Expr, field: &FieldRef) -> GivenArgument {
    match side {
        Expr::Placeholder(place) if place.field.is_none() => GivenArgument::unknown(),
        Expr::Literal(value, _) => GivenArgument::planned(field, Some(value)),
        _ => GivenArgument::of(field),
    }
}

/// The form for sides of these types.
fn meant(name: &str, symbol: &str, given: &[GivenArgument; 2]) -> Result<&'static OperatorForm> {
    let find = |given: &[GivenArgument]| {
        let forms = FORMS.iter().filter(|form| form.function.name() == name);
        best(name, forms.map(|form| (form.takes.clone(), form)), given)
    };
    let has = |wanted: SqlType| given.iter().find(|given| given.sql_type == wanted);
    let typed = given.iter().find(|given| given.sql_type != SqlType::Unknown);
    if let (Some(_), Some(typed)) = (has(SqlType::Unknown), typed)
        && let Ok(form) = find(&[typed.clone(), typed.clone()])
    {
        return Ok(form);
    }
    let [left, right] = given.each_ref().map(|given| given.sql_type.to_string());
    let ambiguous = || {
        let what = format!("operator is not unique: {left} {symbol} {right}");
        Error::new(SqlState::AmbiguousFunction, what)
            .hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
    };
    // What may be added to a date is a number, a time or an interval.
    if has(SqlType::Unknown).is_some() && has(SqlType::Date).is_some() {
        return Err(ambiguous());
    }
    find(given).map_err(|error| match error.state() {
        SqlState::AmbiguousFunction => ambiguous(),
        _ => missing_operator(&left, symbol, &right),
    })
}

/// The sides of an operator that adds or takes away, of times or of anything else.
pub(crate) fn sum_or_difference(expr: &Expr) -> Option<(&Expr, Operator, &Expr)> {
    let (left, op, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => (left.as_ref(), *op, right.as_ref()),
        Expr::ScalarFunction(call) => {
            let (_, op) = NAMES.iter().find(|(name, _)| *name == call.func.name())?;
            let [left, right] = call.args.as_slice() else { return None };
            (left, *op, right)
        }
        _ => return None,
    };
    matches!(op, Operator::Plus | Operator::Minus).then_some((left, op, right))
}

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeOverflow, what)
}

fn is_day(days: i64) -> bool {
    days != i64::from(i32::MIN) && days != i64::from(i32::MAX)
}

fn days_after(date: i64, days: i64) -> Result<i64> {
    if !is_day(date) || (FIRST_DAY..END_OF_DATES).contains(&(date + days)) {
        return Ok(if is_day(date) { date + days } else { date });
    }
    Err(out_of_range("date out of range"))
}

fn midnight(date: i64) -> Result<i64> {
    let midnight = i32::try_from(date).ok().and_then(calendar::midnight);
    midnight.ok_or_else(|| out_of_range("date out of range for timestamp"))
}

fn at_time(date: i64, time: i64) -> Result<i64> {
    let midnight = midnight(date)?;
    if !is_finite(midnight) {
        return Ok(midnight);
    }
    midnight.checked_add(time).ok_or_else(|| out_of_range("timestamp out of range"))
}

/// Of a clock, whose days have no names.
fn of_clock(time: i64, interval: IntervalMonthDayNano, sign: i64) -> i64 {
    (time + sign * (interval.nanoseconds / 1_000 % DAY_MICROS)).rem_euclid(DAY_MICROS)
}

fn later(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    ok(moved(a.int(0), a.interval(1), &Zone::Utc)?)
}

fn later_by(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    ok(moved(a.int(1), a.interval(0), &Zone::Utc)?)
}

fn earlier(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    ok(moved(a.int(0), negated(a.interval(1))?, &Zone::Utc)?)
}

/// The moment that is so much later. Months and days are counted on the wall, the rest is time that
/// passes.
pub(super) fn moved(moment: i64, by: IntervalMonthDayNano, zone: &Zone) -> Result<i64> {
    if !is_finite(moment) {
        return Ok(moment);
    }
    let (months, days) = (i64::from(by.months), i64::from(by.days));
    let at = || -> Option<i64> {
        let mut moment = moment;
        if months != 0 || days != 0 {
            let ahead = i64::from(zone.offset_at(moment.div_euclid(SECOND_MICROS)));
            let wall = moment.checked_add(ahead * SECOND_MICROS)?;
            let day = months_after(wall.div_euclid(DAY_MICROS), months)? + days;
            let wall = day.checked_mul(DAY_MICROS)?.checked_add(wall.rem_euclid(DAY_MICROS))?;
            let ahead = i64::from(zone.offset_of_local(wall.div_euclid(SECOND_MICROS)));
            moment = wall.checked_sub(ahead * SECOND_MICROS)?;
        }
        moment = moment.checked_add(by.nanoseconds / 1_000)?;
        (moment >= FIRST_DAY * DAY_MICROS && moment != i64::MAX).then_some(moment)
    };
    at().ok_or_else(|| out_of_range("timestamp out of range"))
}

/// The same day of another month, or its last one.
fn months_after(day: i64, months: i64) -> Option<i64> {
    if months == 0 {
        return Some(day);
    }
    let (year, month, day) = date_of(day);
    let count = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (count.div_euclid(12), u32::try_from(count.rem_euclid(12)).ok()? + 1);
    Some(days_of(year, month, day.min(days_in_month(year, month))))
}

/// What comes of the values of two columns, in one go: most of the time goes by between rows otherwise.
fn of_both<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    columns: &[ArrayRef],
    of: impl Fn(L::Native, R::Native) -> Result<O::Native>,
) -> Result<ArrayRef> {
    let (left, right) = (columns[0].as_primitive::<L>(), columns[1].as_primitive::<R>());
    let found = try_binary::<_, _, _, O>(left, right, |one, other| Ok(of(one, other)?))?;
    Ok(Arc::new(found))
}

fn days_apart(one: i32, other: i32) -> Result<i32> {
    if [one, other].iter().any(|days| !is_day(i64::from(*days))) {
        return Err(out_of_range("cannot subtract infinite dates"));
    }
    one.checked_sub(other).ok_or_else(|| out_of_range("integer out of range"))
}

fn moments_apart(columns: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    of_both::<TimestampMicrosecondType, TimestampMicrosecondType, Interval>(columns, apart)
}

/// The difference of two moments, in days and hours.
fn apart(one: i64, other: i64) -> Result<IntervalMonthDayNano> {
    if !is_finite(one) || !is_finite(other) {
        return Err(out_of_range("cannot subtract infinite timestamps"));
    }
    let micros = one.checked_sub(other).ok_or_else(|| out_of_range("interval out of range"))?;
    let rest = micros % DAY_MICROS * 1_000;
    Ok(IntervalMonthDayNano::new(0, (micros / DAY_MICROS) as i32, rest))
}

fn sum(one: IntervalMonthDayNano, other: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let added = || {
        Some(IntervalMonthDayNano::new(
            one.months.checked_add(other.months)?,
            one.days.checked_add(other.days)?,
            one.nanoseconds.checked_add(other.nanoseconds)?,
        ))
    };
    added().ok_or_else(|| out_of_range("interval out of range"))
}

pub(super) fn negated(of: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let negated = || {
        Some(IntervalMonthDayNano::new(
            of.months.checked_neg()?,
            of.days.checked_neg()?,
            of.nanoseconds.checked_neg()?,
        ))
    };
    negated().ok_or_else(|| out_of_range("interval out of range"))
}
