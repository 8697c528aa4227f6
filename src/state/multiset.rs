//! Values with how often each is there, in order, and which of them have changed since they were
//! last written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};

/// Values as bytes whose order is theirs. There may be millions of sets of a few values, and sets
/// of millions: a tree takes some hundred bytes for its first value.
#[derive(Clone, Default)]
pub struct Multiset {
    /// In order; empty as soon as there are `many`.
    few: Vec<(Box<[u8]>, i64)>,
    many: BTreeMap<Box<[u8]>, i64>,
    /// `None` as long as nobody asks.
    changed: Option<BTreeSet<Box<[u8]>>>,
    bytes: usize,
}

/// What a value takes beside its bytes, in all and on average.
const ENTRY_OVERHEAD: usize = 64;

/// More values than this are in a tree.
const FEW_VALUES: usize = 24;

impl Multiset {
    /// Adds a value as many times; a negative number takes it out. A value that went before it came
    /// is there a negative number of times. Returns how often it was there before.
    pub fn add(&mut self, value: &[u8], times: i64) -> i64 {
        let before = self.count(value);
        self.set(value, before + times);
        if let Some(changed) = self.changed.as_mut().filter(|changed| !changed.contains(value)) {
            changed.insert(value.into());
        }
        before
    }

    /// Says how often a value is there. Returns how often it was there before.
    pub fn set(&mut self, value: &[u8], count: i64) -> i64 {
        let before = if self.many.is_empty() {
            self.set_few(value, count)
        } else if count == 0 {
            self.many.remove(value).unwrap_or(0)
        } else if let Some(present) = self.many.get_mut(value) {
            std::mem::replace(present, count)
        } else {
            self.many.insert(value.into(), count);
            0
        };
        if self.few.len() > FEW_VALUES {
            self.many.extend(std::mem::take(&mut self.few));
        }
        match (before, count) {
            (0, 0) => {}
            (0, _) => self.bytes += value.len() + ENTRY_OVERHEAD,
            (_, 0) => self.bytes -= value.len() + ENTRY_OVERHEAD,
            _ => {}
        }
        before
    }

    fn set_few(&mut self, value: &[u8], count: i64) -> i64 {
        match (self.place(value), count) {
            (Ok(at), 0) => self.few.remove(at).1,
            (Ok(at), _) => std::mem::replace(&mut self.few[at].1, count),
            (Err(_), 0) => 0,
            (Err(at), _) => {
                if self.few.len() == self.few.capacity() {
                    self.few.reserve_exact(1 + self.few.len() / 2);
                }
                self.few.insert(at, (value.into(), count));
                0
            }
        }
    }

    fn place(&self, value: &[u8]) -> Result<usize, usize> {
        self.few.binary_search_by(|(other, _)| other.as_ref().cmp(value))
    }

    fn count(&self, value: &[u8]) -> i64 {
        match self.place(value) {
            Ok(at) => self.few[at].1,
            Err(_) => self.many.get(value).copied().unwrap_or(0),
        }
    }

    /// How many different values there are.
    pub fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// All values in order, with how often each is there.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.between(0..self.few.len(), (Bound::Unbounded, Bound::Unbounded))
    }

    /// The values from this one on, in order; with an empty value all of them.
    pub fn from(&self, value: &[u8]) -> impl Iterator<Item = (&[u8], i64)> + use<'_> {
        let at = self.place(value).unwrap_or_else(|at| at);
        self.between(at..self.few.len(), (Bound::Included(value), Bound::Unbounded))
    }

    /// The values before this one, the nearest first.
    pub fn below(&self, value: &[u8]) -> impl Iterator<Item = (&[u8], i64)> + use<'_> {
        let at = self.place(value).unwrap_or_else(|at| at);
        self.between(0..at, (Bound::Unbounded, Bound::Excluded(value))).rev()
    }

    fn between(
        &self,
        few: Range<usize>,
        many: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = (&[u8], i64)> + use<'_> {
        let few = self.few[few].iter().map(|(value, count)| (value.as_ref(), *count));
        few.chain(self.many.range::<[u8], _>(many).map(|(value, count)| (value.as_ref(), *count)))
    }

    /// Begins to remember what changes.
    pub fn track(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The values that have changed since the last call, with how often each is there now: 0 if it
    /// is gone.
    pub fn take_changed(&mut self) -> Vec<(Box<[u8]>, i64)> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changed
            .into_iter()
            .map(|value| {
                let count = self.count(&value);
                (value, count)
            })
            .collect()
    }

    /// Takes all values out. They count as changed.
    pub fn clear(&mut self) {
        let (few, many) = (std::mem::take(&mut self.few), std::mem::take(&mut self.many));
        if let Some(changed) = &mut self.changed {
            changed.extend(few.into_iter().chain(many).map(|(value, _)| value));
        }
        self.bytes = 0;
    }

    /// Bytes of memory held by the values.
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// What [`size`](Self::size) should be.
    #[cfg(test)]
    pub fn walked(&self) -> usize {
        self.iter().map(|(value, _)| value.len() + ENTRY_OVERHEAD).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::Dice;

    fn shown(set: &Multiset) -> Vec<(&[u8], i64)> {
        set.iter().collect()
    }

    #[test]
    fn values_come_in_order_and_go_when_none_is_left() {
        let mut set = Multiset::default();
        let steps =
            [("b", 1, 0), ("a", 2, 0), ("c", -1, 0), ("b", 1, 1), ("a", -2, 2), ("c", 2, -1)];
        for (value, times, before) in steps {
            assert_eq!(set.add(value.as_bytes(), times), before);
        }
        assert_eq!(shown(&set), [(&b"b"[..], 2), (&b"c"[..], 1)]);
        assert_eq!(set.size(), 2 * (1 + ENTRY_OVERHEAD));
        assert_eq!(set.from(b"b").collect::<Vec<_>>(), shown(&set));
        assert_eq!(set.below(b"d").collect::<Vec<_>>(), [(&b"c"[..], 1), (b"b", 2)]);
        set.clear();
        assert_eq!((shown(&set).len(), set.size()), (0, 0));
    }

    #[test]
    fn many_values_are_as_few_ones() {
        let (mut set, mut all) = (Multiset::default(), BTreeMap::<Vec<u8>, i64>::new());
        let mut dice = Dice(9);
        for step in 0..4_000 {
            // There are more and more values, and then fewer and fewer.
            let (value, grows) = ([dice.roll(120) as u8], step % 2_000 < 1_000);
            let count = if grows { step } else { 0 };
            let before =
                if count == 0 { all.remove(&value[..]) } else { all.insert(value.into(), count) };
            assert_eq!(set.set(&value, count), before.unwrap_or(0));
            let wanted: Vec<(&[u8], i64)> =
                all.iter().map(|(value, count)| (value.as_slice(), *count)).collect();
            assert_eq!(shown(&set), wanted);
            let (below, from): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|(other, _)| *other < &value[..]);
            assert!(set.below(&value).eq(below.into_iter().rev()) && set.from(&value).eq(from));
            assert_eq!(set.size(), all.len() * (1 + ENTRY_OVERHEAD));
        }
    }

    #[test]
    fn what_has_changed_brings_another_set_to_the_same_place() {
        let (mut set, mut copy) = (Multiset::default(), Multiset::default());
        set.track();
        let steps: [&[(&str, i64)]; 3] =
            [&[("a", 1), ("b", 5)], &[("a", -1), ("c", 1)], &[("c", 1), ("c", -1), ("b", -2)]];
        for (step, written) in steps.into_iter().zip([2, 2, 2]) {
            step.iter().for_each(|(value, times)| _ = set.add(value.as_bytes(), *times));
            let changed = set.take_changed();
            assert_eq!(changed.len(), written);
            changed.iter().for_each(|(value, count)| _ = copy.set(value, *count));
            assert_eq!(shown(&set), shown(&copy));
        }
        assert!(set.take_changed().is_empty());
    }
}
