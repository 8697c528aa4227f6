//! Times made of their parts, and what is asked of whole times: `make_date`, `date_bin`, `isfinite`
//! and the like (Postgres manual, 9.9).

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::forms::{ArgumentsOf, Form, FormValue, functions, loose, ok, strict};
use crate::error::{Error, Result, SqlState};
use crate::time::{DAY_MICROS, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS};
use crate::types::Zone;
use crate::types::calendar::{
    END_OF_DATES, END_OF_TIMESTAMPS, FIRST_DAY, days_in_month, days_of, is_finite,
};

pub(super) fn forms() -> Vec<Form> {
    vec![
        strict("make_date(int, int, int) date", |a| {
            let (days, shown) = date(a)?;
            if (FIRST_DAY..END_OF_DATES).contains(&days) {
                return ok(days);
            }
            Err(out_of_range(format!("date out of range: {shown}")))
        }),
        strict("make_time(int, int, double) time", |a| ok(time(a, 0)?.0)),
        strict("make_timestamp(int, int, int, int, int, double) timestamp", |a| ok(timestamp(a)?)),
        strict("make_timestamptz(int, int, int, int, int, double) timestamptz", |a| {
            ok(timestamp(a)?)
        }),
        strict("make_timestamptz(int, int, int, int, int, double, text) timestamptz", |a| {
            let (local, zone) = (timestamp(a)?, zone(a.text(6))?);
            let ahead = zone.offset_of_local(local.div_euclid(SECOND_MICROS));
            ok(local - i64::from(ahead) * SECOND_MICROS)
        }),
        strict("make_interval(int, int, int, int, int, int, double) interval", interval),
        strict("isfinite(date) bool", |a| ok(!matches!(a.int(0) as i32, i32::MIN | i32::MAX))),
        strict("isfinite(timestamp) bool", |a| ok(is_finite(a.int(0)))),
        strict("isfinite(timestamptz) bool", |a| ok(is_finite(a.int(0)))),
        strict("isfinite(interval) bool", |_| ok(true)),
        strict("date_bin(interval, timestamp, timestamp) timestamp", |a| ok(binned(a)?)),
        strict("date_bin(interval, timestamptz, timestamptz) timestamptz", |a| ok(binned(a)?)),
        loose("overlaps(timestamp, timestamp, timestamp, timestamp) bool", |a| ok(overlaps(a))),
        loose("overlaps(timestamptz, timestamptz, timestamptz, timestamptz) bool", |a| {
            ok(overlaps(a))
        }),
        loose("overlaps(time, time, time, time) bool", |a| ok(overlaps(a))),
        strict("time_of_interval(interval) time", |a| {
            ok((a.interval(0).nanoseconds / 1_000).rem_euclid(DAY_MICROS))
        }),
        strict("__time_of_digits(time, int) time", |a| {
            let unit = 10_i64.pow(6 - a.int(1).clamp(0, 6) as u32);
            ok((a.int(0) + unit / 2) / unit * unit)
        }),
        strict("interval_of_time(time) interval", |a| {
            ok(IntervalMonthDayNano::new(0, 0, a.int(0) * 1_000))
        }),
    ]
}

/// Whether two periods have a moment in common, each from the earlier to the later of its two, which is no
/// part of it unless it is the same. An end that is not known may be any (Postgres manual, 9.9).
fn overlaps(a: ArgumentsOf) -> Option<bool> {
    let period = |n: usize| {
        let known = |n: usize| (!a.is_null(n)).then(|| a.int(n));
        match (known(n), known(n + 1)) {
            (Some(one), Some(other)) => Some((one.min(other), Some(one.max(other)))),
            (one, other) => one.or(other).map(|begin| (begin, None)),
        }
    };
    let (one, other) = (period(0)?, period(2)?);
    let ((_, first_end), (second, second_end)) =
        if one.0 <= other.0 { (one, other) } else { (other, one) };
    if one.0 == other.0 {
        return (first_end.is_some() && second_end.is_some()).then_some(true);
    }
    if first_end? > second { Some(true) } else { second_end.map(|_| false) }
}

/// The function that rounds a time of day; nobody writes it.
pub(crate) const TIME_OF_DIGITS: &str = "__time_of_digits";

/// A cast between times of day and intervals, which DataFusion does not know; None: another one.
pub(crate) fn of_day(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let name = match (cast.expr.get_type(schema).ok()?, cast.field.data_type()) {
        (DataType::Interval(_) | DataType::Duration(_), DataType::Time64(_)) => "time_of_interval",
        (DataType::Time64(_), DataType::Interval(_)) => "interval_of_time",
        _ => return None,
    };
    let function = functions(forms(), &[]).into_iter().find(|function| function.name() == name)?;
    Some(function.call(vec![(*cast.expr).clone()]))
}

fn out_of_range(what: String) -> Error {
    Error::new(SqlState::DatetimeOverflow, what)
}

/// The day since 1970 that the first three arguments say, and how it is shown; a year before 0 is one
/// before Christ.
fn date(a: ArgumentsOf<'_>) -> Result<(i64, String)> {
    let (year, month, day) = (a.int(0), a.int(1), a.int(2));
    let of_calendar = year + i64::from(year < 0);
    let shown = format!("{of_calendar}-{month:02}-{day:02}");
    let most = match u32::try_from(month) {
        Ok(month @ 1..=12) => days_in_month(of_calendar, month),
        _ => 0,
    };
    if year == 0 || !(1..=i64::from(most)).contains(&day) {
        return Err(out_of_range(format!("date field value out of range: {shown}")));
    }
    Ok((days_of(of_calendar, month as u32, day as u32), shown))
}

/// The time of day that three arguments say, and how it is shown.
fn time(a: ArgumentsOf<'_>, from: usize) -> Result<(i64, String)> {
    let (hour, minute, seconds) = (a.int(from), a.int(from + 1), a.double(from + 2));
    let shown = match format!("{seconds:.5e}").split_once('e') {
        Some((digits, power)) if seconds.abs() >= 1e6 => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{hour}:{minute:02}:{digits}e+{power:0>2}")
        }
        _ => format!("{hour}:{minute:02}:{seconds:02}"),
    };
    let micros = (seconds * 1e6).round_ties_even() as i64;
    let of_day = (hour * HOUR_MICROS + minute * MINUTE_MICROS).saturating_add(micros);
    let is_time = (0..=24).contains(&hour)
        && (0..60).contains(&minute)
        && seconds.is_finite()
        && (0..=MINUTE_MICROS).contains(&micros)
        && of_day <= DAY_MICROS;
    if is_time {
        return Ok((of_day, shown));
    }
    Err(out_of_range(format!("time field value out of range: {shown}")))
}

fn timestamp(a: ArgumentsOf<'_>) -> Result<i64> {
    let ((days, date), (of_day, time)) = (date(a)?, time(a, 3)?);
    if (FIRST_DAY..END_OF_TIMESTAMPS).contains(&days) {
        return Ok(days * DAY_MICROS + of_day);
    }
    Err(out_of_range(format!("timestamp out of range: {date} {time}")))
}

/// The zone of a moment's parts: a name, or a number of hours to the east.
fn zone(name: &str) -> Result<Zone> {
    let bad = |what: String| Error::new(SqlState::BadArgument, what);
    let is_number = name.starts_with(['+', '-']);
    let zone = if is_number { Zone::of_suffix(name) } else { Zone::of_name(name) };
    zone.ok_or_else(|| {
        if is_number {
            bad(format!("numeric time zone \"{name}\" out of range"))
        } else {
            bad(format!("time zone \"{name}\" not recognized"))
        }
    })
}

fn interval(a: ArgumentsOf<'_>) -> Result<FormValue<'_>> {
    let seconds = a.double(6) * 1e6;
    let whole = a.int(4) * HOUR_MICROS + a.int(5) * MINUTE_MICROS;
    let nanos = (whole.saturating_add(seconds.round_ties_even() as i64)).checked_mul(1_000);
    // Months and days go round where they are too many.
    let months = a.int(0).wrapping_mul(12).wrapping_add(a.int(1)) as i32;
    let days = a.int(2).wrapping_mul(7).wrapping_add(a.int(3)) as i32;
    match nanos.filter(|_| seconds.is_finite()) {
        Some(nanos) => ok(IntervalMonthDayNano::new(months, days, nanos)),
        None => Err(out_of_range("interval out of range".to_owned())),
    }
}

/// The beginning of the bin that a time is in.
fn binned(a: ArgumentsOf<'_>) -> Result<i64> {
    let (stride, time, origin) = (a.interval(0), a.int(1), a.int(2));
    if !is_finite(time) {
        return Ok(time);
    }
    if !is_finite(origin) {
        return Err(out_of_range("origin out of range".to_owned()));
    }
    if stride.months != 0 {
        let what = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::unsupported(what));
    }
    let stride =
        i128::from(stride.days) * i128::from(DAY_MICROS) + i128::from(stride.nanoseconds / 1_000);
    let since = i128::from(time) - i128::from(origin);
    if stride <= 0 {
        return Err(out_of_range("stride must be greater than zero".to_owned()));
    }
    let begin = i128::from(origin) + since - since.rem_euclid(stride);
    i64::try_from(begin).map_err(|_| out_of_range("timestamp out of range".to_owned()))
}
