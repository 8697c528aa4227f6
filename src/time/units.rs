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
    let ticks = i128::from(ms) * i128::from(ticks_per_second(unit)) / 1_000;
    i64::try_from(ticks).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}
