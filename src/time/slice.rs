//! Slices: the longest stretches of event time on which the set of containing windows is constant.
//!
//! For HOP with any size and slide the borders lie at `k·slide + offset` (a window starts) and at
//! `k·slide + size + offset` (one ends): at most two slices a slide. Each row belongs to exactly
//! one slice, is aggregated once there, and a window is the merge of the slices it covers.
//!
//! Source: Krishnamurthy et al., "On-the-fly sharing for streamed aggregation", SIGMOD 2006 (paired
//! windows).

use super::{EventTime, Window, WindowKind, WindowSpec};

/// One slice `[start, end)`; slices order by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    /// The first tick inside.
    pub start: EventTime,
    /// The first tick after it.
    pub end: EventTime,
}

/// How event time is cut into slices for one [`WindowSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceSpec {
    period: i64,
    offset: i64,
    /// Where in each period the second border lies (`size mod slide`); 0 when there is only one.
    cut: i64,
}

impl SliceSpec {
    /// The slices of these windows.
    pub fn of(windows: &WindowSpec) -> SliceSpec {
        let period = windows.slide();
        let cut = match windows.kind {
            WindowKind::Hop { slide, size } => size.rem_euclid(slide),
            WindowKind::Tumble { .. } | WindowKind::Cumulate { .. } => 0,
        };
        SliceSpec { period, offset: windows.offset.rem_euclid(period), cut }
    }

    /// The slice that holds `at`. Near the ends of the i64 range a slice is cut off there.
    pub fn slice(&self, at: EventTime) -> Slice {
        let relative = i128::from(at.0) - i128::from(self.offset);
        let period = i128::from(self.period);
        let base = relative.div_euclid(period) * period;
        let (start, end) = match (self.cut, relative - base >= i128::from(self.cut)) {
            (0, _) => (base, base + period),
            (cut, true) => (base + i128::from(cut), base + period),
            (cut, false) => (base, base + i128::from(cut)),
        };
        let clamp = |t: i128| {
            EventTime(i64::try_from(t + i128::from(self.offset)).unwrap_or(if t < 0 {
                i64::MIN
            } else {
                i64::MAX
            }))
        };
        Slice { start: clamp(start), end: clamp(end) }
    }
}

impl Slice {
    /// Whether all of this slice lies in the window. (A slice is never partly inside.)
    pub fn is_in(&self, window: &Window) -> bool {
        window.start <= self.start && self.end <= window.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_the_same_windows_everywhere() {
        for spec in [
            WindowSpec::tumble(7),
            WindowSpec::hop(3, 7),
            WindowSpec::hop(3, 6),
            WindowSpec { kind: WindowKind::Hop { slide: 4, size: 10 }, offset: -3 },
            WindowSpec { kind: WindowKind::Cumulate { step: 3, size: 12 }, offset: 5 },
        ] {
            let slices = SliceSpec::of(&spec);
            for t in -50..50 {
                let slice = slices.slice(EventTime(t));
                assert!(slice.start.0 <= t && t < slice.end.0, "{spec:?} {t} {slice:?}");
                let windows: Vec<_> = spec.windows(EventTime(t)).collect();
                assert_eq!(spec.windows(slice.start).collect::<Vec<_>>(), windows, "{spec:?} {t}");
                assert_eq!(spec.windows(EventTime(slice.end.0 - 1)).collect::<Vec<_>>(), windows);
                assert!(windows.iter().all(|w| slice.is_in(w)));
            }
        }
    }
}
