//! A place in a multiset that is followed while values come and go: what a median is read off.
//!
//! ```text
//!  values   1  3  3  3  7  8          at = 3, before = 1: the 3s have places 1, 2 and 3
//! ```
//! A [`Rank`] is a value and how many values stand before it. A value that comes or goes on its
//! left changes that number, one on its right nothing. The middle moves by at most one place with
//! each value, so going from where one is to where the middle is now costs as much as what has
//! changed, however many values there are. Nothing has to be sorted, and no tree has to know its
//! sizes.

use super::multiset::Multiset;

/// A value of a multiset and its place, counted in how often values count.
#[derive(Clone, Debug, Default)]
pub struct Rank {
    /// `None`: at the beginning.
    at: Option<Box<[u8]>>,
    /// How many stand before `at`.
    before: i64,
    total: i64,
}

impl Rank {
    /// How many values there are.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// A value counts so many times more than it did.
    pub fn shift(&mut self, value: &[u8], more: i64) {
        self.total += more;
        if self.at.as_deref().is_some_and(|at| value < at) {
            self.before += more;
        }
    }

    /// The value at a place, places being counted from 0, and how many stand before it; `None` if
    /// there are not as many. `times` says how often a value counts that is there so many times.
    pub fn find<'a>(
        &self,
        place: i64,
        set: &'a Multiset,
        times: impl Fn(&[u8], i64) -> i64,
    ) -> Option<(&'a [u8], i64)> {
        let at = self.at.as_deref().unwrap_or_default();
        let mut before = self.before;
        if place < before {
            for (value, count) in set.below(at) {
                before -= times(value, count);
                if before <= place {
                    return Some((value, before));
                }
            }
            return None;
        }
        for (value, count) in set.from(at) {
            let end = before + times(value, count);
            if place < end {
                return Some((value, before));
            }
            before = end;
        }
        None
    }

    /// Goes to the value at a place.
    pub fn seek(&mut self, place: i64, set: &Multiset, times: impl Fn(&[u8], i64) -> i64) {
        match self.find(place, set, times) {
            Some((value, _)) if self.at.as_deref() == Some(value) => {}
            Some((value, before)) => (self.at, self.before) = (Some(value.into()), before),
            None => (self.at, self.before) = (None, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::Dice;

    #[test]
    fn a_place_is_found_from_wherever_one_was() {
        let times = |_: &[u8], count: i64| count.max(0);
        let (mut set, mut rank, mut all) = (Multiset::default(), Rank::default(), Vec::<u8>::new());
        let mut dice = Dice(5);
        for step in 0..3_000 {
            let roll = dice.roll(1 << 31) as usize;
            let goes = !all.is_empty() && roll.is_multiple_of(if step < 1_500 { 3 } else { 2 });
            let value = if goes { all.swap_remove(roll % all.len()) } else { (roll % 97) as u8 };
            let more = if goes { -1 } else { 1 };
            set.add(&[value], more);
            rank.shift(&[value], more);
            if !goes {
                all.push(value);
            }
            all.sort_unstable();
            assert_eq!(rank.total(), all.len() as i64);
            if roll.is_multiple_of(5) {
                rank.seek(all.len() as i64 / 2, &set, times);
            }
            for place in [0, all.len() / 4, all.len() / 2, all.len()] {
                let found = rank.find(place as i64, &set, times).map(|(value, _)| value[0]);
                assert_eq!(found, all.get(place).copied(), "step {step} place {place}");
            }
        }
    }
}
