//! Moments in the session's time zone (Postgres manual, 8.5.3): what a TIMESTAMPTZ is as a date, as a time
//! of day or as text, and what such are as a TIMESTAMPTZ, goes by `SET timezone`.
//!
//! In memory every moment is in UTC, and so is what DataFusion makes of it. In a session whose zone is
//! another, an analyzer rule writes the way there and back around whatever depends on the zone: casts, those
//! that coercion has put in included, `date_trunc`, `extract`, `age`, and intervals of days and months.
//! Continuous queries know no session: theirs is UTC.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::datetime::now;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::analyzed::rewritten;
use super::cast::{read_in, written_in};
use super::datetime::{to_char_in, to_timestamp_in};
use super::flat::trimmed;
use super::intervals::as_intervals;
use super::json;
use super::scalar::over_columns;
use super::time_operators::{self, negated, sum_or_difference};
use super::time_units::{TimePart, part_named};
use super::zones;
use crate::error::Error;
use crate::pgtypes::values::TextStyle;
use crate::postgres::carried::carried;
use crate::types::{SqlType, Zone};

/// Ticks.
const SECOND: i64 = 1_000_000;

/// The zone of the session that a plan is made for, among the options of its state; none: UTC.
#[derive(Debug, Clone)]
pub(crate) struct SessionZone(pub(crate) String);

carried!(SessionZone, "session_zone");

/// Writes the zone into a plan. It comes after types have been coerced, and before casts become functions.
#[derive(Debug)]
pub(crate) struct InSessionZone;

impl AnalyzerRule for InSessionZone {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let Some(SessionZone(zone)) = config.extensions.get::<SessionZone>() else {
            return Ok(plan);
        };
        rewritten(plan, |expr, schema| Zoned { zone, config, schema }.of(expr))
    }

    fn name(&self) -> &str {
        "session_zone"
    }
}

fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

/// Whether there are moments in values of a type.
fn has_moments(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => has_moments(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_moments(field.data_type())),
        other => is_moment(other),
    }
}

/// Text, or arrays of it.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => is_text(item.data_type()),
        other => *other == DataType::Utf8,
    }
}

/// As deep arrays of text as these are.
fn texts(of: &DataType) -> SqlType {
    match of {
        DataType::List(item) => SqlType::Array(Box::new(texts(item.data_type()))),
        _ => SqlType::Text,
    }
}

fn cast_to(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type))
}

/// Functions of a time that say what a clock on a wall shows.
const OF_LOCAL_TIME: [&str; 3] = ["date_part", "extract", "age"];

/// Functions that write what they are given.
const OF_TEXT: [&str; 6] =
    ["concat", "concat_ws", "format", "quote_literal", "quote_nullable", "array_to_string"];

struct Zoned<'a> {
    zone: &'a str,
    config: &'a ConfigOptions,
    schema: &'a DFSchema,
}

impl Zoned<'_> {
    fn of(&self, expr: Expr) -> Transformed<Expr> {
        if let Some((left, op, right)) = sum_or_difference(&expr) {
            let moved = if self.is_interval(right) && self.is_moment(left) {
                Some([left, right])
            } else if op == Operator::Plus && self.is_moment(right) && self.is_interval(left) {
                Some([right, left])
            } else {
                None
            };
            if let Some(args) = moved {
                let way = Way::Moved(op == Operator::Minus);
                return Transformed::yes(self.call(way, args.map(Expr::clone).into()));
            }
        }
        match expr {
            Expr::Cast(cast) => self.cast(cast),
            Expr::ScalarFunction(call) => self.function(call),
            other => Transformed::no(other),
        }
    }

    fn type_of(&self, expr: &Expr) -> Option<DataType> {
        expr.get_type(self.schema).ok()
    }

    fn is_moment(&self, expr: &Expr) -> bool {
        self.type_of(expr).is_some_and(|data_type| is_moment(&data_type))
    }

    fn is_interval(&self, expr: &Expr) -> bool {
        matches!(self.type_of(expr), Some(DataType::Interval(_) | DataType::Duration(_)))
    }

    fn there(&self, time: Expr) -> Expr {
        self.at(self.zone.to_owned(), time)
    }

    /// AT TIME ZONE.
    fn at(&self, zone: String, time: Expr) -> Expr {
        let function = Arc::new(zones::timezone());
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![lit(zone), time]))
    }

    fn call(&self, way: Way, args: Vec<Expr>) -> Expr {
        self.call_to(way, SqlType::TimestampTz(6).to_field("", true).into(), args)
    }

    fn call_to(&self, way: Way, to: FieldRef, args: Vec<Expr>) -> Expr {
        let signature = Signature::any(args.len(), Volatility::Immutable);
        let function = InZone { way, zone: self.zone.to_owned(), to, signature };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), args))
    }

    fn cast(&self, cast: Cast) -> Transformed<Expr> {
        let Some(from) = self.type_of(&cast.expr) else { return Transformed::no(Expr::Cast(cast)) };
        let to = cast.field.data_type().clone();
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let is_time = |data_type: &DataType| {
            matches!(
                data_type,
                DataType::Timestamp(_, None) | DataType::Date32 | DataType::Time64(_)
            )
        };
        if from.is_string() && has_moments(&to) {
            Transformed::yes(self.call_to(Way::Read, cast.field, vec![*cast.expr]))
        } else if is_text(&to) && has_moments(&from) {
            Transformed::yes(self.call_to(Way::Written, cast.field, vec![*cast.expr]))
        } else if is_moment(&from) && is_time(&to) {
            Transformed::yes(cast_to(self.there(*cast.expr), to))
        } else if is_moment(&to) && is_time(&from) {
            let time = if from == local { *cast.expr } else { cast_to(*cast.expr, local) };
            Transformed::yes(cast_to(self.there(time), to))
        } else {
            Transformed::no(Expr::Cast(cast))
        }
    }

    /// How many seconds one of a part of the zone has, and how many of it are a whole of the next one.
    fn unit_of_zone(part: TimePart) -> Option<(i32, i32)> {
        match part {
            TimePart::Timezone => Some((1, i32::MAX)),
            TimePart::TimezoneHour => Some((3_600, i32::MAX)),
            TimePart::TimezoneMinute => Some((60, 60)),
            _ => None,
        }
    }

    fn function(&self, mut call: ScalarFunction) -> Transformed<Expr> {
        let is_epoch = |arg: Option<&Expr>| matches!(arg, Some(Expr::Literal(value, _)) if value.to_string().eq_ignore_ascii_case("epoch"));
        let name = call.func.name();
        if name == "current_date" && call.args.is_empty() {
            return Transformed::yes(cast_to(
                self.there(now(self.config).call(vec![])),
                DataType::Date32,
            ));
        }
        if name == "make_timestamptz" && call.args.len() == 6 {
            let made = self.at(Zone::Utc.name(), Expr::ScalarFunction(call));
            return Transformed::yes(self.there(made));
        }
        if name == "to_timestamp" && call.args.len() == 2 {
            return Transformed::yes(self.call(Way::Parsed, call.args));
        }
        // A date is a moment to it: the midnight of the session's zone.
        if name == "timezone" && self.type_of(&call.args[1]) == Some(DataType::Date32) {
            let date = std::mem::take(&mut call.args[1]);
            let midnight = cast_to(date, DataType::Timestamp(TimeUnit::Microsecond, None));
            call.args[1] = self.there(midnight);
            return Transformed::yes(Expr::ScalarFunction(call));
        }
        let has_moments = |arg: &Expr| self.type_of(arg).is_some_and(|of| has_moments(&of));
        if !call.args.iter().any(has_moments) {
            return Transformed::no(Expr::ScalarFunction(call));
        }
        if let Some(function) = json::in_zone(&call.func, self.zone) {
            call.func = Arc::new(function);
            return Transformed::yes(Expr::ScalarFunction(call));
        }
        if OF_TEXT.contains(&name) {
            let takes_arrays = name == "array_to_string";
            for arg in call.args.iter_mut().filter(|arg| has_moments(arg)) {
                let of = self.type_of(arg).filter(|_| takes_arrays);
                let to = of.map_or(SqlType::Text, |of| texts(&of)).to_field("", true);
                *arg = self.call_to(Way::Written, to.into(), vec![std::mem::take(arg)]);
            }
            return Transformed::yes(Expr::ScalarFunction(call));
        }
        if name == "to_char" {
            let to = SqlType::Text.to_field("", true).into();
            return Transformed::yes(self.call_to(Way::Patterned, to, call.args));
        }
        if name == "date_trunc" && call.args.len() == 2 {
            call.args.push(lit(self.zone));
            return Transformed::yes(Expr::ScalarFunction(call));
        }
        if let ("date_part" | "extract", [Expr::Literal(part, _), time]) = (name, &call.args[..])
            && let Some(part) = part.try_as_str().flatten().and_then(part_named)
            && let Some(unit) = Self::unit_of_zone(part)
        {
            let ahead = self.call_to(
                Way::Ahead(unit),
                SqlType::BigInt.to_field("", true).into(),
                vec![time.clone()],
            );
            let to =
                if name == "extract" { DataType::Decimal128(20, 0) } else { DataType::Float64 };
            return Transformed::yes(cast_to(ahead, to));
        }
        if OF_LOCAL_TIME.contains(&name) && !is_epoch(call.args.first()) {
            for arg in call.args.iter_mut().filter(|arg| self.is_moment(arg)) {
                *arg = self.there(std::mem::take(arg));
            }
            return Transformed::yes(Expr::ScalarFunction(call));
        }
        Transformed::no(Expr::ScalarFunction(call))
    }
}

/// What is done in the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// A text is read.
    Read,
    /// A value is written as text.
    Written,
    /// A moment is written as a pattern says.
    Patterned,
    /// A text is read as a pattern says.
    Parsed,
    /// How far it is ahead of UTC at a moment, in units of so many seconds, and so many at the most.
    Ahead((i32, i32)),
    /// A moment and an interval are added, or (true) subtracted.
    Moved(bool),
}

/// It as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InZone {
    way: Way,
    zone: String,
    to: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        match self.way {
            Way::Read => "read_in_zone",
            Way::Written => "written_in_zone",
            Way::Patterned => "to_char_in_zone",
            Way::Parsed => "to_timestamp_in_zone",
            Way::Ahead(_) => "ahead_in_zone",
            Way::Moved(false) => "later_in_zone",
            Way::Moved(true) => "earlier_in_zone",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.to.as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = Zone::of_setting(&self.zone)?;
        let field = args.arg_fields.first().cloned();
        over_columns(&args.args, args.number_rows, |columns, rows| {
            match (self.way, columns, &field) {
                (Way::Read, [texts], _) => read_in(texts, &self.to, zone),
                (Way::Written, [values], Some(field)) => {
                    written(values, field, &self.to, &TextStyle::in_zone(&self.zone))
                }
                (Way::Patterned, columns, _) => Ok(to_char_in(zone, columns, rows)?),
                (Way::Parsed, columns, _) => Ok(to_timestamp_in(zone, columns, rows)?),
                (Way::Ahead((unit, most)), [moments], _) => {
                    let moments = moments.as_primitive::<TimestampMicrosecondType>();
                    let ahead = |at: i64| zone.offset_at(at.div_euclid(SECOND)) / unit % most;
                    let is_end = |at: i64| at == i64::MIN || at == i64::MAX;
                    let ahead: Int64Array =
                        moments.unary_opt(|at| (!is_end(at)).then(|| ahead(at).into()));
                    Ok(Arc::new(ahead))
                }
                (Way::Moved(back), [moments, intervals], _) => {
                    Ok(moved(moments, intervals, back, &zone)?)
                }
                _ => Err(Error::internal("a function of a zone without its arguments").into()),
            }
        })
    }
}

/// Values as texts, arrays as arrays of them where these are asked for.
fn written(values: &ArrayRef, field: &Field, to: &Field, style: &TextStyle) -> Result<ArrayRef> {
    let (DataType::List(item), DataType::List(text)) = (field.data_type(), to.data_type()) else {
        return Ok(written_in(values, field, style));
    };
    let (_, offsets, values, nulls) = trimmed(values.as_list::<i32>()).into_parts();
    let values = written(&values, item, text, style)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(text), offsets, values, nulls)?))
}

fn moved(
    moments: &ArrayRef,
    intervals: &ArrayRef,
    back: bool,
    zone: &Zone,
) -> crate::error::Result<ArrayRef> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let moments = cast(moments, &utc)?;
    let moments = moments.as_primitive::<TimestampMicrosecondType>();
    let intervals = as_intervals(intervals)?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let mut out = TimestampMicrosecondArray::builder(moments.len());
    for (moment, interval) in moments.iter().zip(intervals) {
        out.append_option(match (moment, interval) {
            (Some(moment), Some(by)) => {
                let by = if back { negated(by)? } else { by };
                Some(time_operators::moved(moment, by, zone)?)
            }
            _ => None,
        });
    }
    Ok(Arc::new(out.finish().with_data_type(utc)))
}
