//! A point in event time, and how far event time has come.

/// A point in event time: ticks since 1970-01-01T00:00:00 UTC in the unit of the stream's time
/// column (seconds, ms, µs or ns: [`arrow::datatypes::TimeUnit`]). One stream has one
/// unit, so two event times of one pipeline compare as integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// No older row is expected: the greatest event time seen less the delay, never going back.
///
/// [`Watermark::NONE`] before the first row; [`Watermark::INFINITY`] after `advance_watermark(…,
/// 'infinity')` or when a bounded input has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is known yet; every window is open.
    pub const NONE: Watermark = Watermark(i64::MIN);
    /// Everything has been seen; every window is closed.
    pub const INFINITY: Watermark = Watermark(i64::MAX);
    /// The allowed lateness of windows that no watermark closes, since they are not over event time.
    pub const NEVER: i64 = i64::MAX;

    /// The watermark after a row at `seen`, rows being allowed to be `delay` ticks out of order.
    #[must_use]
    pub fn after(self, seen: EventTime, delay: i64) -> Watermark {
        // A finite row never moves the watermark to infinity.
        self.max(Watermark(seen.0.saturating_sub(delay).min(i64::MAX - 1)))
    }

    /// The watermark that a query with `lateness` ticks of allowed lateness goes by; that of one whose
    /// windows [never](Watermark::NEVER) close is [`Watermark::NONE`].
    #[must_use]
    pub fn less(self, lateness: i64) -> Watermark {
        match self {
            _ if lateness == Watermark::NEVER => Watermark::NONE,
            Watermark::NONE | Watermark::INFINITY => self,
            Watermark(at) => Watermark(at.saturating_sub(lateness).max(i64::MIN + 1)),
        }
    }

    /// Whether a window or slice that ends (exclusively) at `end` is complete.
    pub fn closes(self, end: EventTime) -> bool {
        self != Watermark::NONE && self.0 >= end.0
    }
}
