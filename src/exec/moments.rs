//! The moments of statements that write: what `now()` and `PROCTIME()` are in them.
//!
//! A row has the moment of its statement, and comes into the log later, when its transaction commits.
//! Whoever closes windows by the clock must not overtake it, or it would be late without having been
//! slow. So moments that have been given to statements that still write are known, none that is given
//! is before what windows have been closed by, and that is not after any of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;

/// The moments of the statements that write now.
#[derive(Debug, Default)]
pub struct WritingMoments(Mutex<GivenMoments>);

#[derive(Debug)]
struct GivenMoments {
    /// How many statements or transactions have each, milliseconds since 1970.
    writing: BTreeMap<i64, usize>,
    /// None that is given is before this.
    passed: i64,
}

impl Default for GivenMoments {
    fn default() -> Self {
        GivenMoments { writing: BTreeMap::new(), passed: i64::MIN }
    }
}

impl WritingMoments {
    /// The moment of a statement that begins; until it is dropped nothing is closed behind it.
    pub fn begin(self: &Arc<Self>, clock: &dyn Clock) -> WritingMoment {
        let mut given = self.0.lock();
        let at_ms = clock.now_ms().max(given.passed);
        *given.writing.entry(at_ms).or_default() += 1;
        WritingMoment { moments: Arc::clone(self), at_ms }
    }

    /// What no row that is still to come is before, milliseconds since 1970.
    pub fn passed(&self, clock: &dyn Clock) -> i64 {
        let mut given = self.0.lock();
        let oldest = given.writing.first_key_value().map(|(at_ms, _)| *at_ms);
        let now = clock.now_ms().max(given.passed);
        given.passed = oldest.map_or(now, |oldest| oldest.min(now)).max(given.passed);
        given.passed
    }
}

/// The moment of what writes.
#[derive(Debug)]
pub struct WritingMoment {
    moments: Arc<WritingMoments>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

impl Drop for WritingMoment {
    fn drop(&mut self) {
        let mut given = self.moments.0.lock();
        if let Some(count) = given.writing.get_mut(&self.at_ms) {
            *count -= 1;
            if *count == 0 {
                given.writing.remove(&self.at_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn what_is_passed_is_behind_every_statement_that_writes() {
        let clock = SimulatedClock::new(1_000);
        let moments = Arc::new(WritingMoments::default());
        clock.runtime().unwrap().block_on(async {
            let first = moments.begin(&clock);
            clock.sleep(Duration::from_millis(5)).await;
            let second = moments.begin(&clock);
            assert_eq!((first.at_ms, second.at_ms), (1_000, 1_005));
            assert_eq!(moments.passed(&clock), 1_000);
            drop(first);
            assert_eq!(moments.passed(&clock), 1_005);
            clock.sleep(Duration::from_millis(5)).await;
            assert_eq!(moments.passed(&clock), 1_005);
            drop(second);
            assert_eq!(moments.passed(&clock), 1_010);
            // The clock of the machine may be set back.
            let back = SimulatedClock::new(500);
            assert_eq!(moments.begin(&back).at_ms, 1_010);
            assert_eq!(moments.passed(&back), 1_010);
        });
    }
}
