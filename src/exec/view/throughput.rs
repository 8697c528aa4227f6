//! How fast a view reads that goes on by itself, by the clock: what it waits for a thread counts.
//!
//! How old the oldest row is that it has not read says how long that one has waited. The row that
//! is written now waits for all that are before it: their number by this throughput. Who writes ten
//! times as fast as a view reads would otherwise write for `max_lag`, and wait for ten times as
//! long.

/// How fast a view reads.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::exec) struct Throughput {
    /// When the last portion ended, milliseconds since 1970, if there was more to read.
    at_ms: Option<i64>,
    rows_per_ms: f64,
}

/// What the newest portion counts; the others before it count the rest.
const NEWEST: f64 = 0.2;

impl Throughput {
    /// A portion of so many rows has ended; `drained`: nothing was left, so that it waits now.
    pub fn took(&mut self, rows: usize, now_ms: i64, drained: bool) {
        if let Some(at_ms) = self.at_ms {
            let newest = rows as f64 / now_ms.saturating_sub(at_ms).max(1) as f64;
            let before = if self.rows_per_ms > 0.0 { self.rows_per_ms } else { newest };
            self.rows_per_ms = before + (newest - before) * NEWEST;
        }
        self.at_ms = (!drained).then_some(now_ms);
    }

    /// How long so many rows take, milliseconds; 0: not known.
    pub fn ms_for(&self, rows: u64) -> i64 {
        if self.rows_per_ms > 0.0 { (rows as f64 / self.rows_per_ms) as i64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_told_by_portions_that_follow_each_other() {
        let mut throughput = Throughput::default();
        throughput.took(1_000, 5_000, true);
        assert_eq!(throughput.ms_for(1_000_000), 0, "nobody knows");
        // It has waited for rows, and not read.
        throughput.took(1_000, 60_000, false);
        assert_eq!(throughput.ms_for(1_000_000), 0);
        for portion in 1..50 {
            throughput.took(1_000, 60_000 + portion * 50, false);
        }
        assert_eq!(throughput.ms_for(20_000), 1_000);
        for portion in 50..100 {
            throughput.took(500, 60_000 + portion * 50, false);
        }
        assert!(
            (1_999..=2_001).contains(&throughput.ms_for(20_000)),
            "{}",
            throughput.ms_for(20_000)
        );
    }
}
