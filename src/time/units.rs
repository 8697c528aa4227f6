//! The units in which time is counted.

use arrow::datatypes::TimeUnit;

/// Microseconds of a second.
pub const SECOND_MICROS: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
/// Microseconds of an hour.
pub const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// Nanoseconds of a day.
pub const DAY_NANOS: i64 = DAY_MICROS * 1_000;

/// Seconds from 1970 to the first moment after the year 9999.
pub const YEAR_10000: i64 = 253_402_300_800;

/// How many ticks of `unit` a second has.
pub fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => SECOND_MICROS,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// So many milliseconds in ticks of `unit`.
pub fn ticks_of_millis(ms: i64, unit: TimeUnit) -> i64 {
    rescaled(ms, 1_000, ticks_per_second(unit))
}

/// A moment in ticks of `unit` as microseconds; what is finer is cut off towards the past.
pub fn micros_of_ticks(ticks: i64, unit: TimeUnit) -> i64 {
    rescaled(ticks, ticks_per_second(unit), SECOND_MICROS)
}

/// Microseconds in ticks of `unit`.
pub fn ticks_of_micros(micros: i64, unit: TimeUnit) -> i64 {
    rescaled(micros, SECOND_MICROS, ticks_per_second(unit))
}

/// A number of units of which there are `from` a second, in those of which there are `to`; what is
/// too large is the end of time.
fn rescaled(value: i64, from: i64, to: i64) -> i64 {
    let scaled = (i128::from(value) * i128::from(to)).div_euclid(i128::from(from));
    i64::try_from(scaled).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
