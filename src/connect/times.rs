//! The event time of each record, looked at while the record's bytes are at hand.
//!
//! A time that cannot be one (±infinity, beyond the year 9999, further ahead of the clock than
//! `max_future` allows) makes the record wrong: it would carry the watermark away and with it every
//! window. A record without a time is a row like any other, but in no window; it is kept aside as
//! well.

use super::EventTimes;
use crate::time::{SECOND_MICROS, YEAR_10000};

/// The first moment after the year 9999, microseconds.
const END_MICROS: i64 = YEAR_10000 * SECOND_MICROS;

/// What to make of a record's event time.
pub(super) enum Verdict {
    Good,
    Missing,
    Wrong(String),
}

/// The rule of one pass over a source.
pub(super) struct Times {
    column: usize,
    max_future_ms: Option<i64>,
    /// The latest time that is taken now, microseconds.
    latest: i64,
}

impl Times {
    pub(super) fn new(rule: EventTimes) -> Times {
        Times { column: rule.column, max_future_ms: rule.max_future_ms, latest: END_MICROS - 1 }
    }

    pub(super) fn column(&self) -> usize {
        self.column
    }

    /// What the clock says goes for the records that follow.
    pub(super) fn set_now(&mut self, now_ms: i64) {
        let ahead = self.max_future_ms.map(|ms| now_ms.saturating_add(ms).saturating_mul(1_000));
        self.latest = ahead.unwrap_or(i64::MAX).min(END_MICROS - 1);
    }

    /// `name` is the column's, `micros` its value.
    pub(super) fn judge(&self, name: &str, micros: Option<i64>) -> Verdict {
        match micros {
            None => Verdict::Missing,
            Some(i64::MIN | i64::MAX) => {
                Verdict::Wrong(format!("column \"{name}\": an event time must be finite"))
            }
            Some(at) if at <= self.latest => Verdict::Good,
            Some(at) if at >= END_MICROS => {
                Verdict::Wrong(format!("column \"{name}\": an event time beyond the year 9999"))
            }
            Some(_) => Verdict::Wrong(format!(
                "column \"{name}\": the event time is further ahead of the clock than max_future allows"
            )),
        }
    }
}
