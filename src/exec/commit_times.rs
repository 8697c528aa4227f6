//! When commits were made, roughly: how old what a view has not read yet is.

use std::collections::VecDeque;

use crate::limits;
use crate::log::CommitNo;

/// When commits were made, roughly: how old what a view has not read yet is.
#[derive(Debug, Default)]
pub(super) struct CommitTimes {
    marks: VecDeque<(CommitNo, i64)>,
}

impl CommitTimes {
    /// The last commit at this time, milliseconds since 1970.
    pub fn note(&mut self, last: CommitNo, now_ms: i64) {
        let is_news = self.marks.back().is_none_or(|(commit, at)| {
            *commit < last && now_ms.saturating_sub(*at) >= limits::COMMIT_MARK_MS
        });
        if is_news {
            self.marks.push_back((last, now_ms));
            let surplus = self.marks.len().saturating_sub(limits::COMMIT_MARKS);
            self.marks.drain(..surplus);
        }
    }

    /// How long ago the first commit behind this one was made, milliseconds; 0 if there is none.
    pub fn behind_ms(&self, reached: CommitNo, now_ms: i64) -> i64 {
        let first = self.marks.partition_point(|(commit, _)| *commit <= reached);
        self.marks.get(first).map_or(0, |(_, at)| now_ms.saturating_sub(*at).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_as_far_behind_as_the_first_commit_it_has_not_read() {
        let mut times = CommitTimes::default();
        assert_eq!(times.behind_ms(CommitNo(0), 1_000), 0);
        for second in 0..10_i64 {
            times.note(CommitNo(second as u64 * 100), second * 1_000);
        }
        assert_eq!(times.behind_ms(CommitNo(900), 20_000), 0);
        assert_eq!(times.behind_ms(CommitNo(899), 20_000), 11_000);
        assert_eq!(times.behind_ms(CommitNo(0), 20_000), 19_000);
        // A mark for a while is enough, and old ones go.
        times.note(CommitNo(950), 9_001);
        assert_eq!(times.behind_ms(CommitNo(900), 20_000), 0);
        for second in 10..10_000_i64 {
            times.note(CommitNo(second as u64 * 100), second * 1_000);
        }
        assert_eq!(times.marks.len(), limits::COMMIT_MARKS);
    }
}
