//! The rows of one key in their order, of which the first ones are wanted.
//!
//! ```text
//!  before | top           | rest        each in order, and all of one before all of the next
//!  1  2   | 3  4  5       | 6  7 …      OFFSET 2 LIMIT 3
//! ```
//! A row that comes goes where it belongs, and where that makes too many, the last goes over to the
//! next part; a row that goes leaves a place to the first of the next part. So a row costs a few
//! steps in a tree, however many there are, and which rows have come into the top and which have left
//! it is known without looking at the others. Where rows are never taken back, none comes up from the
//! rest, and what would be there is forgotten.
//!
//! Rows are ordered by the bytes of arrow's row format and then by their numbers: of rows that are
//! equal the earlier is first. Of `rank()` and `dense_rank()` all of those are in one part: a group.

use std::collections::BTreeSet;

/// How rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// Each by itself: `row_number()`, LIMIT.
    Rows,
    /// As many as stand before its group: `rank()`.
    Rank,
    /// Groups: `dense_rank()`.
    DenseRank,
}

impl Numbering {
    /// The number of the next row, which is the first of its group or not.
    pub fn next(self, count: &mut Tally, begins_group: bool) -> usize {
        count.rows += 1;
        if begins_group {
            count.groups += 1;
            count.rank = count.rows;
        }
        match self {
            Numbering::Rows => count.rows,
            Numbering::Rank => count.rank,
            Numbering::DenseRank => count.groups,
        }
    }
}

/// How far it has been counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    rows: usize,
    groups: usize,
    rank: usize,
}

impl Tally {
    /// So many rows have been passed over.
    pub fn behind(rows: usize) -> Tally {
        Tally { rows, ..Tally::default() }
    }
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How they are counted.
    pub numbering: Numbering,
    /// Without so many first ones; none but where rows are counted by themselves.
    pub skip: usize,
    /// Up to so many behind these; at least one.
    pub count: usize,
    /// Rows may be taken back, so the others are kept, too.
    pub keeps_rest: bool,
}

/// A row: where it stands in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranked {
    /// What it is ordered by, as bytes.
    pub order: Box<[u8]>,
    /// Its number.
    pub number: u64,
}

/// The rows of a key.
#[derive(Debug, Default)]
pub struct Ranking {
    before: RankedRows,
    top: RankedRows,
    rest: RankedRows,
    /// How many groups the top has.
    groups: usize,
    /// How many rows its last group has.
    last_group: usize,
}

/// What has become of a top since it was looked at last.
#[derive(Debug, Default)]
pub struct Moved {
    /// Rows that are in it now and were not.
    pub entered: BTreeSet<Ranked>,
    /// Those that were and are not.
    pub left: BTreeSet<Ranked>,
}

impl Ranking {
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.before.len() + self.top.len() + self.rest.len() == 0
    }

    /// The rows that are wanted, in order.
    pub fn top(&self) -> impl Iterator<Item = &Ranked> {
        self.top.iter()
    }

    /// All rows that are kept, in order.
    #[cfg(test)]
    pub fn rows(&self) -> impl Iterator<Item = &Ranked> {
        self.before.iter().chain(self.top.iter()).chain(self.rest.iter())
    }

    /// Whether a row to come that is ordered by this would not be among those that are wanted, nor
    /// before them.
    pub fn is_behind(&self, order: &[u8], wanted: &Wanted) -> bool {
        let Some(last) = self.top.last().filter(|_| self.is_full(wanted)) else { return false };
        match wanted.numbering {
            Numbering::Rows => order >= &last.order[..],
            Numbering::Rank | Numbering::DenseRank => order > &last.order[..],
        }
    }

    fn is_full(&self, wanted: &Wanted) -> bool {
        match wanted.numbering {
            Numbering::Rows | Numbering::Rank => self.top.len() >= wanted.count,
            Numbering::DenseRank => self.groups >= wanted.count,
        }
    }

    /// A row comes. Rows that are not kept any more are put to `forgotten`.
    pub fn insert(
        &mut self,
        row: Ranked,
        wanted: &Wanted,
        moved: &mut Moved,
        forgotten: &mut Vec<Ranked>,
    ) {
        let mut row = row;
        let is_before = self.before.len() < wanted.skip
            || wanted.skip > 0 && self.before.last().is_some_and(|last| row < *last);
        if is_before {
            self.before.insert(row);
            match self.before.last().cloned().filter(|_| self.before.len() > wanted.skip) {
                Some(last) => row = last,
                None => return,
            }
            self.before.remove(&row);
        }
        let is_in_top = !self.is_full(wanted)
            || self.top.last().is_some_and(|last| match wanted.numbering {
                Numbering::Rows => row < *last,
                Numbering::Rank | Numbering::DenseRank => row.order <= last.order,
            });
        if !is_in_top {
            self.put_behind(row, wanted, forgotten);
            return;
        }
        self.enter(row, moved);
        while self.has_too_many(wanted) {
            let going = if wanted.numbering == Numbering::Rows { 1 } else { self.last_group };
            for _ in 0..going {
                let Some(last) = self.top.last().cloned() else { break };
                self.leave(&last, moved);
                self.put_behind(last, wanted, forgotten);
            }
        }
    }

    fn has_too_many(&self, wanted: &Wanted) -> bool {
        match wanted.numbering {
            Numbering::Rows => self.top.len() > wanted.count,
            Numbering::Rank => self.top.len() - self.last_group >= wanted.count,
            Numbering::DenseRank => self.groups > wanted.count,
        }
    }

    fn put_behind(&mut self, row: Ranked, wanted: &Wanted, forgotten: &mut Vec<Ranked>) {
        if wanted.keeps_rest {
            self.rest.insert(row);
        } else {
            forgotten.push(row);
        }
    }

    /// A row goes.
    pub fn remove(&mut self, row: &Ranked, wanted: &Wanted, moved: &mut Moved) {
        if self.before.remove(row) {
            let Some(next) = self.top.first().cloned() else { return };
            self.leave(&next, moved);
            self.before.insert(next);
        } else if !self.leave(row, moved) {
            self.rest.remove(row);
            return;
        }
        let is_group = |top: &RankedRows, next: &Ranked| {
            wanted.numbering != Numbering::Rows
                && top.last().is_some_and(|last| last.order == next.order)
        };
        while let Some(next) = self.rest.first() {
            if self.is_full(wanted) && !is_group(&self.top, next) {
                break;
            }
            let next = next.clone();
            self.rest.remove(&next);
            self.enter(next, moved);
        }
    }

    fn enter(&mut self, row: Ranked, moved: &mut Moved) {
        self.groups += usize::from(!self.top.has_group(&row.order));
        match self.top.last() {
            Some(last) if row.order < last.order => {}
            Some(last) if row.order == last.order => self.last_group += 1,
            _ => self.last_group = 1,
        }
        if !moved.left.remove(&row) {
            moved.entered.insert(row.clone());
        }
        self.top.insert(row);
    }

    /// Whether the row was in the top.
    fn leave(&mut self, row: &Ranked, moved: &mut Moved) -> bool {
        let is_of_last = self.top.last().is_some_and(|last| last.order == row.order);
        if !self.top.remove(row) {
            return false;
        }
        self.groups -= usize::from(!self.top.has_group(&row.order));
        if is_of_last {
            self.last_group -= 1;
            if self.last_group == 0 {
                self.last_group = self.top.size_of_last();
            }
        }
        if !moved.entered.remove(row) {
            moved.left.insert(row.clone());
        }
        true
    }
}

/// Rows in order. There may be millions of keys of a few rows, and keys of millions: a tree takes
/// some hundred bytes for its first row.
#[derive(Debug, Default)]
struct RankedRows {
    /// Empty as soon as there are `many`.
    few: Vec<Ranked>,
    many: BTreeSet<Ranked>,
}

/// More rows than this are in a tree.
const FEW: usize = 32;

impl RankedRows {
    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    fn insert(&mut self, row: Ranked) {
        if !self.many.is_empty() {
            self.many.insert(row);
        } else if let Err(at) = self.few.binary_search(&row) {
            if self.few.len() == self.few.capacity() {
                self.few.reserve_exact(1 + self.few.len() / 2);
            }
            self.few.insert(at, row);
            if self.few.len() > FEW {
                self.many.extend(std::mem::take(&mut self.few));
            }
        }
    }

    fn remove(&mut self, row: &Ranked) -> bool {
        match self.few.binary_search(row) {
            Ok(at) => {
                self.few.remove(at);
                true
            }
            Err(_) => self.many.remove(row),
        }
    }

    fn first(&self) -> Option<&Ranked> {
        self.few.first().or_else(|| self.many.first())
    }

    fn last(&self) -> Option<&Ranked> {
        self.few.last().or_else(|| self.many.last())
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Ranked> {
        self.few.iter().chain(&self.many)
    }

    /// Whether a row is ordered by this.
    fn has_group(&self, order: &[u8]) -> bool {
        let first = Ranked { order: order.into(), number: 0 };
        let next = match self.few.get(self.few.partition_point(|row| *row < first)) {
            Some(next) => Some(next),
            None => self.many.range(first..).next(),
        };
        next.is_some_and(|next| *next.order == *order)
    }

    fn size_of_last(&self) -> usize {
        let mut rows = self.iter().rev();
        let Some(last) = rows.next() else { return 0 };
        1 + rows.take_while(|row| row.order == last.order).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::Dice;

    /// The rows that are wanted of all of them.
    fn naive(all: &[Ranked], wanted: &Wanted) -> Vec<Ranked> {
        let mut sorted = all.to_vec();
        sorted.sort();
        let (mut count, mut last) = (Tally::default(), None);
        let mut top = Vec::new();
        for row in sorted {
            let number = wanted.numbering.next(&mut count, last.as_ref() != Some(&row.order));
            last = Some(row.order.clone());
            if number > wanted.skip && number <= wanted.skip + wanted.count {
                top.push(row);
            }
        }
        top
    }

    fn check(wanted: Wanted, values: u64) {
        let mut dice = Dice(11);
        let mut roll = |sides: u64| dice.roll(sides);
        let (mut ranking, mut all, mut before) = (Ranking::default(), Vec::new(), Vec::new());
        let mut moved = Moved::default();
        for number in 0..500_u64 {
            let goes = if number % 250 < 150 { 4 } else { 2 };
            if wanted.keeps_rest && !all.is_empty() && roll(goes) != 0 {
                let gone = all.swap_remove(roll(all.len() as u64) as usize);
                ranking.remove(&gone, &wanted, &mut moved);
            }
            let row = Ranked { order: Box::new([roll(values) as u8]), number };
            let behind = ranking.is_behind(&row.order, &wanted);
            let mut forgotten = Vec::new();
            ranking.insert(row.clone(), &wanted, &mut moved, &mut forgotten);
            assert!(!behind || wanted.keeps_rest || forgotten == [row.clone()], "{wanted:?}");
            all.push(row);
            if roll(3) == 0 {
                continue;
            }
            let top: Vec<Ranked> = ranking.top().cloned().collect();
            assert_eq!(top, naive(&all, &wanted), "{wanted:?} at {number}");
            let Moved { entered, left } = std::mem::take(&mut moved);
            let stays = |row: &&Ranked| !left.contains(*row);
            let mut now: Vec<Ranked> =
                before.iter().filter(stays).chain(&entered).cloned().collect();
            now.sort();
            assert_eq!(now, top, "{wanted:?} at {number}: what has come and gone");
            assert!(left.iter().all(|row| before.contains(row)), "{wanted:?}");
            before = top;
        }
    }

    #[test]
    fn the_top_is_that_of_all_rows_and_what_has_moved_is_known() {
        for numbering in [Numbering::Rows, Numbering::Rank, Numbering::DenseRank] {
            for (skip, count) in [(0, 1), (0, 3), (2, 3), (1, 40), (0, 60)] {
                let skip = if numbering == Numbering::Rows { skip } else { 0 };
                for keeps_rest in [false, true] {
                    let wanted = Wanted { numbering, skip, count, keeps_rest };
                    check(wanted, 7);
                    check(wanted, 200);
                }
            }
        }
    }
}
