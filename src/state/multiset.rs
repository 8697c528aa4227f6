//! Values with how often each is there, in order, and which of them have changed since they were last written.

use std::collections::{BTreeMap, BTreeSet};

/// Values as bytes whose order is theirs.
#[derive(Clone, Default)]
pub struct Multiset {
    counts: BTreeMap<Box<[u8]>, i64>,
    /// `None` as long as nobody asks.
    changed: Option<BTreeSet<Box<[u8]>>>,
    bytes: usize,
}

/// What a value takes beside its bytes, in both maps together and on average.
const ENTRY_BYTES: usize = 64;

impl Multiset {
    /// Adds a value as many times; a negative number takes it out. A value that went before it came is there a negative
    /// number of times.
    pub fn add(&mut self, value: &[u8], times: i64) {
        let count = self.counts.get(value).copied().unwrap_or(0);
        self.set(value, count + times);
        if let Some(changed) = self.changed.as_mut().filter(|changed| !changed.contains(value)) {
            changed.insert(value.into());
        }
    }

    /// Says how often a value is there.
    pub fn set(&mut self, value: &[u8], count: i64) {
        if count == 0 {
            if self.counts.remove(value).is_some() {
                self.bytes -= value.len() + ENTRY_BYTES;
            }
        } else if let Some(present) = self.counts.get_mut(value) {
            *present = count;
        } else {
            self.counts.insert(value.into(), count);
            self.bytes += value.len() + ENTRY_BYTES;
        }
    }

    /// How many different values there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether a value is there.
    pub fn contains(&self, value: &[u8]) -> bool {
        self.counts.contains_key(value)
    }

    /// All values in order, with how often each is there.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.counts.iter().map(|(value, &count)| (value.as_ref(), count))
    }

    /// Begins to remember what changes.
    pub fn track(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The values that have changed since the last call, with how often each is there now: 0 if it is gone.
    pub fn take_changed(&mut self) -> Vec<(Box<[u8]>, i64)> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changed
            .into_iter()
            .map(|value| {
                let count = self.counts.get(&value).copied().unwrap_or(0);
                (value, count)
            })
            .collect()
    }

    /// Takes all values out. They count as changed.
    pub fn clear(&mut self) {
        let values = std::mem::take(&mut self.counts).into_keys();
        if let Some(changed) = &mut self.changed {
            changed.extend(values);
        }
        self.bytes = 0;
    }

    /// Bytes of memory held by the values.
    pub fn size(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(set: &Multiset) -> Vec<(&[u8], i64)> {
        set.iter().collect()
    }

    #[test]
    fn values_come_in_order_and_go_when_none_is_left() {
        let mut set = Multiset::default();
        for (value, times) in [("b", 1), ("a", 2), ("c", -1), ("b", 1), ("a", -2), ("c", 2)] {
            set.add(value.as_bytes(), times);
        }
        assert_eq!(shown(&set), [(&b"b"[..], 2), (&b"c"[..], 1)]);
        assert_eq!(set.size(), 2 * (1 + ENTRY_BYTES));
        assert_eq!((set.len(), set.contains(b"c"), set.contains(b"a")), (2, true, false));
        set.clear();
        assert_eq!((shown(&set).len(), set.size()), (0, 0));
    }

    #[test]
    fn what_has_changed_brings_another_set_to_the_same_place() {
        let (mut set, mut copy) = (Multiset::default(), Multiset::default());
        set.track();
        let steps: [&[(&str, i64)]; 3] =
            [&[("a", 1), ("b", 5)], &[("a", -1), ("c", 1)], &[("c", 1), ("c", -1), ("b", -2)]];
        for (step, written) in steps.into_iter().zip([2, 2, 2]) {
            step.iter().for_each(|(value, times)| set.add(value.as_bytes(), *times));
            let changed = set.take_changed();
            assert_eq!(changed.len(), written);
            changed.iter().for_each(|(value, count)| copy.set(value, *count));
            assert_eq!(shown(&set), shown(&copy));
        }
        assert!(set.take_changed().is_empty());
    }
}
