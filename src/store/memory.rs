//! A store that forgets: ordered maps in memory, for `--ephemeral`, for tests and as the ground of
//! simulation.
//!
//! It behaves as the one on disk does except for durability: batches are atomic and a scan sees
//! whole batches or nothing of them per portion. A scan copies out a portion of entries at a time
//! (values are shared, not copied), so that no lock is held while its caller works.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Change, Entries, KeyValue, Keys, Space, Store, WriteBatch};
use crate::error::Result;

/// How many entries a scan takes out under one lock.
const PORTION: usize = 256;

/// Ordered maps in memory, one for each [`Space`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: RwLock<MemoryMaps>,
}

#[derive(Debug, Default)]
struct MemoryMaps {
    maps: [BTreeMap<Vec<u8>, Bytes>; Space::ALL.len()],
    bytes: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn portion(&self, space: Space, from: Bound<&[u8]>, to: &[u8]) -> Vec<KeyValue> {
        let inner = self.inner.read();
        let upper = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        if is_empty_range(from, to) {
            return Vec::new();
        }
        let range = inner.maps[space as usize].range::<[u8], _>((from, upper));
        range.take(PORTION).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// `BTreeMap::range` panics on a range that ends before it begins; to us that is simply empty.
fn is_empty_range(from: Bound<&[u8]>, to: &[u8]) -> bool {
    match from {
        Bound::Included(from) | Bound::Excluded(from) => !to.is_empty() && from >= to,
        Bound::Unbounded => false,
    }
}

impl Store for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.inner.read().maps[space as usize].get(key).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>> {
        let to = to.to_vec();
        let mut waiting = self.portion(space, Bound::Included(from), &to).into_iter();
        let mut last: Option<Vec<u8>> = None;
        Ok(Box::new(std::iter::from_fn(move || {
            if waiting.len() == 0
                && let Some(last) = &last
            {
                waiting = self.portion(space, Bound::Excluded(last), &to).into_iter();
            }
            let entry = waiting.next()?;
            if waiting.len() == 0 {
                last = Some(entry.0.clone());
            }
            Some(Ok(entry))
        })))
    }

    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        Ok(Box::new(self.scan(space, from, to)?.map(|entry| entry.map(|(key, _)| key))))
    }

    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        if is_empty_range(Bound::Included(from), to) {
            return Ok(None);
        }
        let inner = self.inner.read();
        let upper = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let mut range = inner.maps[space as usize].range::<[u8], _>((Bound::Included(from), upper));
        Ok(range.next_back().map(|(key, _)| key.clone()))
    }

    fn commit(&self, batch: WriteBatch) -> Result<()> {
        let mut inner = self.inner.write();
        for change in batch.changes {
            let inner = &mut *inner;
            let added = change.bytes() as u64;
            let (key_bytes, old) = match change {
                Change::Put(space, key, value) => {
                    inner.bytes += added;
                    (key.len(), inner.maps[space as usize].insert(key, value))
                }
                Change::Delete(space, key) => (key.len(), inner.maps[space as usize].remove(&key)),
            };
            if let Some(old) = old {
                inner.bytes -= (key_bytes + old.len()) as u64;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.inner.read().bytes
    }

    fn memory(&self) -> Vec<(&'static str, u64)> {
        vec![("all that is stored", self.bytes())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_over_many_portions_gives_every_key_of_its_range_once() {
        let store = MemoryStore::new();
        let mut batch = WriteBatch::default();
        for n in 0..1000u32 {
            batch.put(Space::Log, n.to_be_bytes(), Bytes::from_static(b"x"));
        }
        store.commit(batch).unwrap();
        let keys = |from: u32, to: u32| -> Vec<u32> {
            store
                .keys(Space::Log, &from.to_be_bytes(), &to.to_be_bytes())
                .unwrap()
                .map(|key| u32::from_be_bytes(key.unwrap().try_into().unwrap()))
                .collect()
        };
        assert_eq!(keys(3, 900), (3..900).collect::<Vec<_>>());
        assert_eq!(keys(9, 3), Vec::<u32>::new());
        assert_eq!(
            store.floor(Space::Log, &[], &512u32.to_be_bytes()).unwrap().unwrap(),
            511u32.to_be_bytes()
        );
        assert_eq!(store.bytes(), 5000);
    }
}
