//! How far the functions of an OVER reach from a row, in rows or in event time: what is needed to
//! answer it, and when no row to come can change the answer.
//!
//! Rows of one time come together, so `CURRENT ROW` reaches nothing, whatever else orders the rows. A
//! month is taken to be as long as the longest one, and a day of a zone an hour longer: reaching too
//! far makes an answer later and never another one.

use arrow::datatypes::TimeUnit;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use crate::error::{Error, Result};
use crate::operators::FrameReach;
use crate::time::{DAY_NANOS, HOUR_MICROS, ticks_per_second};

/// How far some functions reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct OverReach {
    /// None: to the first row.
    pub(super) back: Option<FrameReach>,
    pub(super) ahead: FrameReach,
}

/// The unit of the event time that a frame is over, and whether its days are those of a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeScale {
    pub(super) unit: TimeUnit,
    pub(super) has_zone: bool,
}

impl OverReach {
    /// Not beyond the rows of one time.
    pub(super) const NONE: OverReach = OverReach {
        back: Some(FrameReach { ticks: 0, rows: 0, times: 0 }),
        ahead: FrameReach { ticks: 0, rows: 0, times: 0 },
    };

    /// As far as both.
    pub(super) fn or(self, other: OverReach) -> OverReach {
        let back = self.back.zip(other.back).map(|(one, other)| one.or(other));
        OverReach { back, ahead: self.ahead.or(other.ahead) }
    }

    /// That of a function.
    pub(super) fn of(call: &WindowFunction, scale: TimeScale) -> Result<OverReach> {
        let name = call.fun.name();
        let from_start = OverReach { back: None, ..OverReach::NONE };
        match (&call.fun, name) {
            (WindowFunctionDefinition::AggregateUDF(_), _)
            | (_, "first_value" | "last_value" | "nth_value") => {
                of_frame(&call.params.window_frame, scale)
            }
            (_, "row_number" | "rank" | "dense_rank") => Ok(from_start),
            (_, "lag" | "lead") => of_shift(call),
            _ => Err(Error::unsupported(format!(
                "EMIT ON WINDOW CLOSE of {name}() that is not within windows is not supported"
            ))
            .hint("It depends on all rows of its partition. Have window_start and window_end in PARTITION BY, or use EMIT CHANGES.")),
        }
    }
}

/// `lag` and `lead` look so many rows back or ahead, whatever the frame is.
fn of_shift(call: &WindowFunction) -> Result<OverReach> {
    let offset = match call.params.args.get(1).map(|offset| offset.clone().unalias()) {
        None => Some(1),
        Some(Expr::Literal(offset, _)) => integer(&offset),
        Some(_) => None,
    };
    let offset = offset.ok_or_else(|| {
        Error::unsupported("EMIT ON WINDOW CLOSE of lag() and lead() by what is no number")
            .hint("Write the number of rows as a constant, or use EMIT CHANGES.")
    })?;
    let ahead = if call.fun.name() == "lead" { offset } else { offset.saturating_neg() };
    let rows = usize::try_from(ahead.unsigned_abs()).unwrap_or(usize::MAX);
    let skips = call.params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let reach = FrameReach { rows, ..FrameReach::default() };
    match (ahead > 0, skips) {
        (true, true) => Err(never_ends("lead() that ignores NULLs may look at any row to come")),
        (true, false) => Ok(OverReach { ahead: reach, ..OverReach::NONE }),
        (false, true) => Ok(OverReach { back: None, ..OverReach::NONE }),
        (false, false) => Ok(OverReach { back: Some(reach), ..OverReach::NONE }),
    }
}

fn of_frame(frame: &WindowFrame, scale: TimeScale) -> Result<OverReach> {
    let reach = |by: &ScalarValue| -> Result<FrameReach> {
        let counted = || integer(by).and_then(|count| usize::try_from(count).ok());
        let found = match frame.units {
            WindowFrameUnits::Rows => {
                counted().map(|rows| FrameReach { rows, ..FrameReach::default() })
            }
            WindowFrameUnits::Groups => {
                counted().map(|times| FrameReach { times, ..FrameReach::default() })
            }
            WindowFrameUnits::Range => {
                scale.ticks_of(by).map(|ticks| FrameReach { ticks, ..FrameReach::default() })
            }
        };
        found.ok_or_else(|| {
            Error::unsupported(format!("EMIT ON WINDOW CLOSE of a frame of {by} is not supported"))
                .hint("Use ROWS with a number or RANGE with an interval, or EMIT CHANGES.")
        })
    };
    let back = match &frame.start_bound {
        WindowFrameBound::Preceding(by) if by.is_null() => None,
        WindowFrameBound::Preceding(by) => Some(reach(by)?),
        WindowFrameBound::CurrentRow | WindowFrameBound::Following(_) => {
            Some(FrameReach::default())
        }
    };
    let ahead = match &frame.end_bound {
        WindowFrameBound::Following(by) if by.is_null() => {
            return Err(never_ends("a frame that ends with UNBOUNDED FOLLOWING never ends"));
        }
        WindowFrameBound::Following(by) => reach(by)?,
        WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(_) => FrameReach::default(),
    };
    Ok(OverReach { back, ahead })
}

fn never_ends(why: &str) -> Error {
    Error::unsupported(format!("EMIT ON WINDOW CLOSE: {why}"))
        .hint("End the frame with CURRENT ROW or so many rows or so much time FOLLOWING, or use EMIT CHANGES.")
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&arrow::datatypes::DataType::Int64) {
        Ok(ScalarValue::Int64(whole)) if value.data_type().is_integer() => whole,
        _ => None,
    }
}

impl TimeScale {
    /// An interval is never longer than that.
    fn ticks_of(self, interval: &ScalarValue) -> Option<i64> {
        let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else { return None };
        let days = i128::from(interval.months) * 31 + i128::from(interval.days);
        let hour = i128::from(HOUR_MICROS) * 1_000;
        let slack = if self.has_zone && days != 0 { hour } else { 0 };
        let nanos = days * i128::from(DAY_NANOS) + i128::from(interval.nanoseconds) + slack;
        let tick = 1_000_000_000 / i128::from(ticks_per_second(self.unit));
        i64::try_from(nanos.unsigned_abs().div_ceil(tick.unsigned_abs())).ok()
    }
}
