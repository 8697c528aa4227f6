//! Which windows a row is in.
//!
//! A window is `[start, end)`. TUMBLE and HOP windows start at `k·slide + offset` for every integer
//! k; a CUMULATE window starts at `k·size + offset` and ends at each step from there. The
//! assignment is pure arithmetic on ticks of the time column, exact before 1970 (floor division)
//! and at the edges; a window that would reach beyond the i64 range of ticks is not there.

use super::EventTime;

/// The columns that a window function appends, in order.
pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// A window `[start, end)` in ticks of the time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first tick behind it. Ordering is by end, then start: the order in which windows close.
    pub end: EventTime,
    /// The first tick inside.
    pub start: EventTime,
}

/// The shape of the windows, lengths in ticks of the time column, all positive.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// Side by side: each row is in one window.
    Tumble { size: i64 },
    /// Windows of `size` that start every `slide` (slide ≤ size; size need not be a multiple).
    Hop { slide: i64, size: i64 },
    /// Windows that grow by `step` until `size` (a multiple of step), then start anew.
    Cumulate { step: i64, size: i64 },
}

/// Windows and where they are anchored: TUMBLE, HOP and CUMULATE with their offset, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowSpec {
    /// The shape.
    pub kind: WindowKind,
    /// How far the windows are shifted from the Unix epoch; any value, taken modulo the slide.
    pub offset: i64,
}

impl WindowSpec {
    /// Tumbling windows without offset.
    pub fn tumble(size: i64) -> Self {
        WindowSpec { kind: WindowKind::Tumble { size }, offset: 0 }
    }

    /// Hopping windows without offset.
    pub fn hop(slide: i64, size: i64) -> Self {
        WindowSpec { kind: WindowKind::Hop { slide, size }, offset: 0 }
    }

    /// The length of the longest window.
    pub fn size(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size }
            | WindowKind::Hop { size, .. }
            | WindowKind::Cumulate { size, .. } => size,
        }
    }

    /// The distance between two window starts (for CUMULATE: between two ends).
    pub fn slide(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } => size,
            WindowKind::Hop { slide, .. } => slide,
            WindowKind::Cumulate { step, .. } => step,
        }
    }

    /// The windows that hold `at`, in order of their end.
    pub fn windows(&self, at: EventTime) -> Windows {
        Windows::of(self, at)
    }

    /// The window of `at` that ends last. Not by walking all of them: a HOP may have very many.
    pub fn last_window(&self, at: EventTime) -> Option<Window> {
        let windows = Windows::of(self, at);
        // Near the end of time the last ones are not there.
        let beyond = (windows.last_end - i128::from(i64::MAX)).max(0);
        let skipped = (beyond + windows.end_step - 1) / windows.end_step;
        let steps = (windows.last_end - windows.end) / windows.end_step - skipped;
        if steps < 0 {
            return None;
        }
        let start = i64::try_from(windows.start + steps * windows.start_step).ok()?;
        let end = i64::try_from(windows.end + steps * windows.end_step).ok()?;
        Some(Window { start: EventTime(start), end: EventTime(end) })
    }

    /// The most windows that one row can be in.
    pub fn windows_per_row(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { .. } => 1,
            WindowKind::Hop { slide, size } | WindowKind::Cumulate { step: slide, size } => {
                size / slide + i64::from(size % slide != 0)
            }
        }
    }
}

/// Iterator over the windows of one row, in order of their end; made by [`WindowSpec::windows`].
#[derive(Debug, Clone)]
pub struct Windows {
    /// i128, since the last window of a row near the end of time would overflow.
    start: i128,
    end: i128,
    last_end: i128,
    start_step: i128,
    end_step: i128,
}

impl Windows {
    fn of(spec: &WindowSpec, at: EventTime) -> Windows {
        let (at, offset) = (i128::from(at.0), i128::from(spec.offset));
        let (size, slide) = (i128::from(spec.size()), i128::from(spec.slide()));
        let floor = |t: i128, step: i128| (t - offset).div_euclid(step) * step + offset;
        match spec.kind {
            WindowKind::Tumble { .. } | WindowKind::Hop { .. } => {
                // The first window that holds `at` starts at the first border after at - size.
                let first = floor(at - size, slide) + slide;
                let last = floor(at, slide);
                Windows {
                    start: first,
                    end: first + size,
                    last_end: last + size,
                    start_step: slide,
                    end_step: slide,
                }
            }
            WindowKind::Cumulate { .. } => {
                let start = floor(at, size);
                let end = floor(at, slide) + slide;
                Windows { start, end, last_end: start + size, start_step: 0, end_step: slide }
            }
        }
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        while self.end <= self.last_end {
            let (start, end) = (self.start, self.end);
            self.start += self.start_step;
            self.end += self.end_step;
            if let (Ok(start), Ok(end)) = (i64::try_from(start), i64::try_from(end)) {
                return Some(Window { start: EventTime(start), end: EventTime(end) });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: WindowSpec, at: i64, expect: &[(i64, i64)]) {
        let got: Vec<_> = spec.windows(EventTime(at)).map(|w| (w.start.0, w.end.0)).collect();
        assert_eq!(got, expect, "{spec:?} at {at}");
        let last = spec.last_window(EventTime(at)).map(|w| (w.start.0, w.end.0));
        assert_eq!(last, expect.last().copied(), "the last window of {spec:?} at {at}");
        assert!(got.len() as i64 <= spec.windows_per_row());
    }

    #[test]
    fn a_row_is_in_the_windows_that_hold_it() {
        check(WindowSpec::tumble(10), 0, &[(0, 10)]);
        check(WindowSpec::tumble(10), 9, &[(0, 10)]);
        check(WindowSpec::tumble(10), 10, &[(10, 20)]);
        check(WindowSpec::hop(2, 6), 5, &[(0, 6), (2, 8), (4, 10)]);
        check(WindowSpec::hop(3, 7), 6, &[(0, 7), (3, 10), (6, 13)]);
        let cumulate = WindowSpec { kind: WindowKind::Cumulate { step: 2, size: 6 }, offset: 0 };
        check(cumulate, 3, &[(0, 4), (0, 6)]);
    }

    #[test]
    fn windows_before_1970_and_with_offsets_are_exact() {
        check(WindowSpec::tumble(10), -1, &[(-10, 0)]);
        check(WindowSpec::tumble(10), -10, &[(-10, 0)]);
        check(WindowSpec { kind: WindowKind::Tumble { size: 10 }, offset: 3 }, 2, &[(-7, 3)]);
        check(WindowSpec { kind: WindowKind::Tumble { size: 10 }, offset: -7 }, 3, &[(3, 13)]);
        check(WindowSpec::hop(2, 5), -1, &[(-4, 1), (-2, 3)]);
    }

    #[test]
    fn a_window_beyond_the_range_of_ticks_is_not_there() {
        check(WindowSpec::tumble(10), i64::MAX, &[]);
        check(WindowSpec::tumble(10), i64::MIN, &[]);
        let near = i64::MAX / 10 * 10;
        check(WindowSpec::hop(10, 30), near - 1, &[(near - 30, near)]);
    }
}
