//! Keys that are bytes: text as it is, anything else as arrow-row bytes, whose order is the order
//! of the keys.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::integers::too_many;
use super::wrong_type;
use crate::error::Result;

/// Where the bytes of an id lie in the arena.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    len: u32,
    hash: u32,
}

/// Byte strings ↔ ids.
#[derive(Default)]
pub struct Strings {
    table: HashTable<(u32, u32)>,
    hasher: FixedState,
    arena: Vec<u8>,
    /// Bytes of the arena that belong to forgotten keys.
    garbage: usize,
    spans: Vec<Span>,
    null: Option<u32>,
    spare: Vec<u32>,
}

impl Strings {
    /// The id of these bytes (`None`: of NULL), a new one if they are new.
    #[inline]
    pub fn intern(&mut self, bytes: Option<&[u8]>) -> Result<u32> {
        let Some(bytes) = bytes else { return self.intern_null() };
        let full = self.hasher.hash_one(bytes);
        let short = full as u32;
        let (spans, arena) = (&self.spans, &self.arena);
        let found = self.table.find(spread(short), |&(hash, id)| {
            hash == short && slice(arena, spans[id as usize]) == bytes
        });
        match found {
            Some(&(_, id)) => Ok(id),
            None => self.add(short, bytes),
        }
    }

    #[cold]
    fn intern_null(&mut self) -> Result<u32> {
        if let Some(id) = self.null {
            return Ok(id);
        }
        let id = self.fresh(Span::default())?;
        self.null = Some(id);
        Ok(id)
    }

    #[cold]
    fn add(&mut self, hash: u32, bytes: &[u8]) -> Result<u32> {
        let len = u32::try_from(bytes.len()).map_err(|_| too_many())?;
        if self.garbage > 4096 && self.garbage * 2 > self.arena.len() {
            self.compact();
        }
        let id = self.fresh(Span { start: self.arena.len(), len, hash })?;
        self.arena.extend_from_slice(bytes);
        self.table.insert_unique(spread(hash), (hash, id), |&(hash, _)| spread(hash));
        Ok(id)
    }

    fn fresh(&mut self, span: Span) -> Result<u32> {
        if let Some(id) = self.spare.pop() {
            self.spans[id as usize] = span;
            return Ok(id);
        }
        let id = u32::try_from(self.spans.len())
            .ok()
            .filter(|&id| id < u32::MAX)
            .ok_or_else(too_many)?;
        self.spans.push(span);
        Ok(id)
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage);
        for span in &mut self.spans {
            let start = arena.len();
            arena.extend_from_slice(slice(&self.arena, *span));
            span.start = start;
        }
        self.arena = arena;
        self.garbage = 0;
    }

    pub fn find(&self, bytes: Option<&[u8]>) -> Option<u32> {
        let Some(bytes) = bytes else { return self.null };
        let short = self.hasher.hash_one(bytes) as u32;
        let found = self.table.find(spread(short), |&(hash, id)| {
            hash == short && slice(&self.arena, self.spans[id as usize]) == bytes
        });
        found.map(|&(_, id)| id)
    }

    pub fn forget(&mut self, id: u32) {
        self.spare.push(id);
        if self.null == Some(id) {
            self.null = None;
            return;
        }
        let span = std::mem::take(&mut self.spans[id as usize]);
        self.garbage += span.len as usize;
        if let Ok(entry) = self.table.find_entry(spread(span.hash), |&(_, other)| other == id) {
            entry.remove();
        }
    }

    /// The bytes of an id; `None` for NULL, which so sorts first.
    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        if self.null == Some(id) { None } else { Some(slice(&self.arena, self.spans[id as usize])) }
    }

    /// The text of ids as a column.
    pub fn text(&self, ids: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        // Only whole strings were put in, so what comes out is text.
        let text = ids.iter().map(|&id| self.bytes(id).and_then(|b| std::str::from_utf8(b).ok()));
        Ok(match data_type {
            DataType::Utf8 => Arc::new(text.collect::<StringArray>()),
            DataType::LargeUtf8 => Arc::new(text.collect::<LargeStringArray>()),
            DataType::Utf8View => Arc::new(text.collect::<StringViewArray>()),
            other => return Err(wrong_type(other)),
        })
    }

    pub fn sort(&self, ids: &mut [u32]) {
        ids.sort_unstable_by(|&a, &b| -> Ordering { self.bytes(a).cmp(&self.bytes(b)) });
    }

    pub fn bound(&self) -> usize {
        self.spans.len()
    }

    pub fn len(&self) -> usize {
        self.spans.len() - self.spare.len()
    }

    pub fn size(&self) -> usize {
        self.arena.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.table.capacity() * 9
            + self.spare.capacity() * 4
    }
}

fn slice(arena: &[u8], span: Span) -> &[u8] {
    &arena[span.start..span.start + span.len as usize]
}

/// hashbrown takes its tag from the top bits and the bucket from the low ones: both must come from
/// the 32 bits kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
