//! The names of parts of time (Postgres manual, 9.9.1), and times cut to one: `date_trunc`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};

use super::calendar_time::weekday;
use super::forms::{Form, over};
use super::recent::Recent;
use super::scalar::{strings, text};
use crate::error::{Error, Result, SqlState};
use crate::time::{DAY_MICROS, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS};
use crate::types::Zone;
use crate::types::calendar::{date_of, days_of};

pub(super) use TimePart::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimePart {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
    Epoch,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
}

/// Postgres knows words by their first ten letters.
const WORD: usize = 10;

const PARTS: [(TimePart, &str); 22] = [
    (Microsecond, "microsecon us usec usecond useconds usecs"),
    (Millisecond, "millisecon ms msec msecond mseconds msecs"),
    (Second, "second seconds s sec secs"),
    (Minute, "minute minutes m min mins"),
    (Hour, "hour hours h hr hrs"),
    (Day, "day days d"),
    (Week, "week weeks w"),
    (Month, "month months mon mons"),
    (Quarter, "quarter qtr"),
    (Year, "year years y yr yrs"),
    (Decade, "decade decades dec decs"),
    (Century, "century centuries c cent"),
    (Millennium, "millennium millennia mil mils"),
    (Timezone, "timezone"),
    (TimezoneHour, "timezone_h"),
    (TimezoneMinute, "timezone_m"),
    (Epoch, "epoch"),
    (Dow, "dow"),
    (Isodow, "isodow"),
    (Doy, "doy"),
    (Isoyear, "isoyear"),
    (Julian, "julian j jd"),
];

/// The part of that name, in any case.
pub(super) fn part_named(name: &str) -> Option<TimePart> {
    let name = name.to_lowercase();
    let word = name.get(..WORD).unwrap_or(&name);
    let is_name = |names: &str| names.split(' ').any(|known| known == word);
    PARTS.iter().find(|(_, names)| is_name(names)).map(|(part, _)| *part)
}

/// 22023 for what is no part of time.
pub(super) fn unrecognized(name: &str, of: &str) -> Error {
    let name = name.to_lowercase();
    Error::new(SqlState::BadArgument, format!("unit \"{name}\" not recognized for type {of}"))
}

/// 0A000 for what is none of this type.
pub(super) fn unsupported(name: &str, of: &str) -> Error {
    Error::unsupported(format!("unit \"{}\" not supported for type {of}", name.to_lowercase()))
}

/// `date_trunc`.
pub(super) fn forms() -> Vec<Form> {
    vec![
        over("date_trunc(text, timestamp) timestamp", moments).checked(check),
        over("date_trunc(text, timestamptz) timestamptz", moments).checked(check),
        over("date_trunc(text, timestamptz, text) timestamptz", moments).checked(check),
        over("date_trunc(text, interval) interval", intervals).checked(check),
    ]
}

/// The part that a time of this type can be cut to.
fn unit(name: &str, of: &str) -> Result<TimePart> {
    match part_named(name).filter(|part| *part <= TimezoneMinute) {
        None => Err(unrecognized(name, of)),
        Some(Timezone | TimezoneHour | TimezoneMinute) => Err(unsupported(name, of)),
        Some(Week) if of == "interval" => {
            Err(unsupported(name, of).detail("Months usually have fractional weeks."))
        }
        Some(part) => Ok(part),
    }
}

fn check(name: &str, of: &str) -> Result<()> {
    unit(name, of).map(|_| ())
}

fn moments(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let names = strings(&args[0])?;
    let times = args[1].as_primitive::<TimestampMicrosecondType>();
    let zones = args.get(2).map(strings).transpose()?;
    let of = match times.timezone() {
        Some(_) => "timestamp with time zone",
        None => "timestamp without time zone",
    };
    let of_type = |cut: TimestampMicrosecondArray| -> Result<ArrayRef> {
        Ok(Arc::new(cut.with_data_type(args[1].data_type().clone())))
    };
    let is_one = |texts: &StringArray| texts.len() == 1 && texts.is_valid(0);
    if is_one(&names) && zones.as_ref().is_none_or(is_one) {
        let zone = zones.as_ref().map_or(Ok(Zone::Utc), |zones| zone_named(zones.value(0)))?;
        let unit = unit(names.value(0), of)?;
        return of_type(match zone {
            Zone::Utc => times.unary(|micros| cut(unit, micros)),
            zone => times.unary(|micros| cut_in(zone, unit, micros)),
        });
    }
    let (mut known_units, mut known_zones) = (Recent::default(), Recent::default());
    let mut out = TimestampMicrosecondArray::builder(rows);
    for row in 0..rows {
        let zone = zones.as_ref().map_or(Some(""), |zones| text(zones, row));
        let (Some(unit), Some(zone), true) = (text(&names, row), zone, times.is_valid(row)) else {
            out.append_null();
            continue;
        };
        let unit = *known_units.of(unit, |name| self::unit(name, of))?;
        let zone = *known_zones.of(zone, |name| match *name {
            "" => Ok(Zone::Utc),
            name => zone_named(name),
        })?;
        out.append_value(cut_in(zone, unit, times.value(row)));
    }
    of_type(out.finish())
}

fn zone_named(name: &str) -> Result<Zone> {
    Zone::of_name(name).ok_or_else(|| {
        Error::new(SqlState::BadArgument, format!("time zone \"{name}\" not recognized"))
    })
}

fn cut_in(zone: Zone, unit: TimePart, micros: i64) -> i64 {
    if micros == i64::MIN || micros == i64::MAX || zone == Zone::Utc {
        return cut(unit, micros);
    }
    let of = |seconds: i32| i64::from(seconds) * SECOND_MICROS;
    let ahead = of(zone.offset_at(micros.div_euclid(SECOND_MICROS)));
    let local = cut(unit, micros + ahead);
    // A day may have begun with another distance.
    let back =
        if unit < Day { ahead } else { of(zone.offset_of_local(local.div_euclid(SECOND_MICROS))) };
    local - back
}

/// The beginning of the unit that a time is in.
fn cut(unit: TimePart, micros: i64) -> i64 {
    if micros == i64::MIN || micros == i64::MAX {
        return micros;
    }
    let whole = |size: i64| micros - micros.rem_euclid(size);
    let days = micros.div_euclid(DAY_MICROS);
    // What takes no calendar is cut without one, ten times as fast.
    let (year, month) = if unit > Week {
        let (year, month, _) = date_of(days);
        (year, month)
    } else {
        (0, 0)
    };
    let begin = |year: i64, month: u32| days_of(year, month, 1);
    let years = |size: i64| (year - 1).div_euclid(size) * size + 1;
    let day = match unit {
        Microsecond => return micros,
        Millisecond => return whole(1_000),
        Second => return whole(SECOND_MICROS),
        Minute => return whole(MINUTE_MICROS),
        Hour => return whole(HOUR_MICROS),
        Week => days - (weekday(days) + 6).rem_euclid(7),
        Month => begin(year, month),
        Quarter => begin(year, (month - 1) / 3 * 3 + 1),
        Year => begin(year, 1),
        Decade => begin(year.div_euclid(10) * 10, 1),
        Century => begin(years(100), 1),
        Millennium => begin(years(1_000), 1),
        _ => days,
    };
    day.saturating_mul(DAY_MICROS)
}

fn intervals(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let names = strings(&args[0])?;
    let mut units = Recent::default();
    let values = args[1].as_primitive::<IntervalMonthDayNanoType>();
    let value = |row| {
        let Some(name) = text(&names, row).filter(|_| values.is_valid(row)) else {
            return Ok(None);
        };
        let unit = *units.of(name, |name| unit(name, "interval"))?;
        Ok(Some(cut_interval(unit, values.value(row))))
    };
    Ok(Arc::new((0..rows).map(value).collect::<Result<IntervalMonthDayNanoArray>>()?))
}

fn cut_interval(unit: TimePart, interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let months = match unit {
        Quarter => 3,
        Year => 12,
        Decade => 120,
        Century => 1_200,
        Millennium => 12_000,
        _ => 1,
    };
    let nanos = match unit {
        Microsecond => 1_000,
        Millisecond => 1_000_000,
        Second => SECOND_MICROS * 1_000,
        Minute => MINUTE_MICROS * 1_000,
        Hour => HOUR_MICROS * 1_000,
        _ => i64::MAX,
    };
    IntervalMonthDayNano::new(
        interval.months / months * months,
        if unit <= Day { interval.days } else { 0 },
        if unit <= Hour { interval.nanoseconds / nanos * nanos } else { 0 },
    )
}
