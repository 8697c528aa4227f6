//! The open sessions of a key.

use std::collections::BTreeMap;

use super::Closes;
use crate::state::Location;
use crate::time::{EventTime, Watermark};

/// What is known of a key.
#[derive(Default)]
pub(super) struct SessionKey {
    /// By where they begin; they are a gap or more apart.
    pub(super) open: BTreeMap<i64, OpenSession>,
    /// Where the last one that has closed ends, and where that is stored.
    pub(super) closed: Option<(i64, Location)>,
}

/// Rows of a key that follow each other within the gap.
pub(super) struct OpenSession {
    pub(super) last: i64,
    /// The number of its first row.
    oldest: u64,
    /// What has been given, in parts that were sessions then.
    pub(super) given: Vec<GivenPart>,
    /// The numbers of rows that have not been given.
    pub(super) new: Vec<u64>,
}

/// Rows as they have been given.
pub(super) struct GivenPart {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: Vec<u64>,
}

impl SessionKey {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_none()
    }

    /// Where the open sessions begin that a row at this time is in: at most one before it and one
    /// behind it.
    pub(super) fn within(&self, time: i64, gap: i64) -> [Option<i64>; 2] {
        let before = self.open.range(..=time).next_back();
        let before = before.filter(|(_, session)| session.last.saturating_add(gap) > time);
        let behind = self.open.range(time.saturating_add(1)..).next();
        let behind = behind.filter(|(first, _)| **first < time.saturating_add(gap));
        [before, behind].map(|session| session.map(|(first, _)| *first))
    }

    /// Whether a row could still be let in that is within the gap of a closed session that ends here.
    pub(super) fn needs(&self, end: i64, gap: i64, passed: Watermark) -> bool {
        let until = end.saturating_add(gap);
        !passed.closes(EventTime(until))
            || self.open.first_key_value().is_some_and(|(first, _)| *first < until)
    }
}

impl OpenSession {
    /// Of one row.
    pub(super) fn of(time: i64, number: u64) -> OpenSession {
        OpenSession { last: time, oldest: number, given: Vec::new(), new: vec![number] }
    }

    /// Takes in the rows of another.
    pub(super) fn join(&mut self, other: OpenSession) {
        self.last = self.last.max(other.last);
        self.oldest = self.oldest.min(other.oldest);
        self.given.extend(other.given);
        // The longer list stays where it is.
        let mut longer = other.new;
        if longer.len() < self.new.len() {
            std::mem::swap(&mut longer, &mut self.new);
        }
        longer.append(&mut self.new);
        self.new = longer;
    }

    /// When it closes, if it begins there.
    pub(super) fn closes(&self, first: i64, gap: i64, key: u32) -> Closes {
        Closes { end: self.last.saturating_add(gap), first, oldest: self.oldest, key }
    }

    /// The numbers of its rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = u64> + '_ {
        self.given.iter().flat_map(|part| &part.rows).chain(&self.new).copied()
    }

    /// All of it has been given; it begins there.
    pub(super) fn is_given(&mut self, first: i64) {
        let mut parts = std::mem::take(&mut self.given);
        // The longest list stays where it is.
        parts.sort_unstable_by_key(|part| part.rows.len());
        let mut rows = parts.pop().map_or_else(Vec::new, |part| part.rows);
        rows.extend(parts.into_iter().flat_map(|part| part.rows));
        rows.append(&mut self.new);
        self.given.push(GivenPart { first, last: self.last, rows });
    }
}
