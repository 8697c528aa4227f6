//! Keys that no row has come for in a while: `state_ttl`.
//!
//! Times are those of epochs, and not stored: after a restart a key has been touched when the server
//! began. So a key may be kept longer than it must be, and is never forgotten too early.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};

use crate::error::Result;
use crate::state::Interner;

/// No time yet.
const UNKNOWN: i64 = i64::MIN;

/// When keys were touched last, by their ids.
pub(super) struct UntouchedKeys {
    /// Microseconds.
    ttl: i64,
    /// The time of the epoch.
    now: i64,
    /// The last epoch that touched each key.
    last: Vec<i64>,
    /// Epochs with the keys that they touched; of these some were touched again since.
    queue: VecDeque<(i64, Vec<u32>)>,
    /// How many keys these are, all together: there may be an epoch for each millisecond.
    queued: usize,
}

impl UntouchedKeys {
    /// Keys are forgotten after so many microseconds.
    pub(super) fn new(ttl: i64) -> UntouchedKeys {
        UntouchedKeys { ttl, now: UNKNOWN, last: Vec::new(), queue: VecDeque::new(), queued: 0 }
    }

    /// Rows of these keys have come in this epoch.
    pub(super) fn touch(&mut self, ids: &[u32]) {
        if self.queue.back().is_none_or(|(time, _)| *time != self.now) {
            self.queue.push_back((self.now, Vec::new()));
        }
        let Some((_, touched)) = self.queue.back_mut() else { return };
        for &id in ids {
            let at = id as usize;
            if self.last.len() <= at {
                self.last.resize(at + 1, i64::MAX);
            }
            if self.last[at] != self.now {
                self.last[at] = self.now;
                touched.push(id);
                self.queued += 1;
            }
        }
        self.prune();
    }

    /// Nobody is to wake for an epoch whose keys have all been touched again.
    fn prune(&mut self) {
        while let Some((time, ids)) = self.queue.front_mut() {
            while ids.pop_if(|id| self.last[*id as usize] != *time).is_some() {
                self.queued -= 1;
            }
            if !ids.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// An epoch begins: the keys that are to be forgotten.
    pub(super) fn tick(&mut self, now: i64) -> Vec<u32> {
        if self.now == UNKNOWN {
            // Those of before the server began.
            for (time, ids) in &mut self.queue {
                *time = now;
                ids.iter().for_each(|id| self.last[*id as usize] = now);
            }
        }
        self.now = now;
        let mut due = Vec::new();
        while let Some((time, ids)) =
            self.queue.pop_front_if(|(time, _)| time.saturating_add(self.ttl) <= now)
        {
            self.queued -= ids.len();
            due.extend(ids.into_iter().filter(|id| self.last[*id as usize] == time));
        }
        due.iter().for_each(|id| self.last[*id as usize] = i64::MAX);
        self.prune();
        due
    }

    /// When keys may next have to be forgotten.
    pub(super) fn wakes(&self) -> Option<i64> {
        let (time, _) = self.queue.front()?;
        (*time != UNKNOWN).then(|| time.saturating_add(self.ttl))
    }

    /// Bytes, about; counted, not walked.
    pub(super) fn size(&self) -> usize {
        self.last.capacity() * size_of::<i64>()
            + self.queue.capacity() * size_of::<(i64, Vec<u32>)>()
            + self.queued * size_of::<u32>()
    }
}

/// The same of keys that have no ids elsewhere.
pub(super) struct UntouchedValues {
    keys: Interner,
    times: UntouchedKeys,
}

impl UntouchedValues {
    /// Keys in these columns, forgotten after so many microseconds; `None`: they cannot be told apart.
    pub(super) fn new(columns: &[FieldRef], ttl: i64) -> Option<UntouchedValues> {
        let types: Vec<DataType> = columns.iter().map(|field| field.data_type().clone()).collect();
        let keys = Interner::new(&types).ok()?;
        Some(UntouchedValues { keys, times: UntouchedKeys::new(ttl) })
    }

    /// Rows with these keys have come in this epoch.
    pub(super) fn touch(&mut self, keys: &[ArrayRef]) -> Result<()> {
        let (rows, mut ids) = (keys.first().map_or(0, |column| column.len()), Vec::new());
        self.keys.intern(keys, rows, &mut ids)?;
        self.times.touch(&ids);
        Ok(())
    }

    /// An epoch begins: the keys that are to be forgotten, all different; None: there are none.
    pub(super) fn tick(&mut self, now: i64) -> Result<Option<Vec<ArrayRef>>> {
        let due = self.times.tick(now);
        if due.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.keys(&due)?;
        due.iter().for_each(|id| self.keys.forget(*id));
        Ok(Some(keys))
    }

    /// When keys may next have to be forgotten.
    pub(super) fn wakes(&self) -> Option<i64> {
        self.times.wakes()
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        self.keys.size() + self.times.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_wait_to_be_forgotten_are_counted() {
        let mut keys = UntouchedKeys::new(50);
        let mut most = 0;
        for now in 0..2_000_u32 {
            keys.tick(i64::from(now));
            // Some come once, some again and again, and sometimes none does.
            let touched = [now, now % 7, now / 2];
            keys.touch(if now % 3 == 0 { &[] } else { &touched });
            most = keys.queued.max(most);
            assert_eq!(keys.queued, keys.queue.iter().map(|(_, ids)| ids.len()).sum::<usize>());
        }
        assert!((50..200).contains(&most), "{most}");
        keys.tick(10_000);
        assert_eq!(keys.queued, 0);
    }

    #[test]
    fn a_key_is_due_a_while_after_it_was_touched_last() {
        let mut keys = UntouchedKeys::new(10);
        // Restored before the first epoch.
        keys.touch(&[0, 1]);
        assert_eq!((keys.wakes(), keys.tick(100)), (None, vec![]));
        assert_eq!(keys.wakes(), Some(110));
        assert_eq!(keys.tick(105), [0; 0]);
        keys.touch(&[1, 2, 1]);
        assert_eq!(keys.tick(110), [0]);
        keys.touch(&[3]);
        assert_eq!((keys.wakes(), keys.tick(114)), (Some(115), vec![]));
        keys.touch(&[3]);
        // An id is given again.
        keys.touch(&[0]);
        assert_eq!(keys.tick(115), [1, 2]);
        // Nothing is left of 110.
        assert_eq!((keys.wakes(), keys.tick(124)), (Some(124), vec![3, 0]));
        assert_eq!((keys.wakes(), keys.tick(200)), (None, vec![]));
    }
}
