//! Idempotency keys: which posts have been taken already.
//!
//! ```text
//!  posted/stream/k/key     ─▶ what became of the post, and its commit
//!  posted/stream/n/commit  ─▶ its key: they are forgotten in the order in which they came
//! ```
//! A key is part of the commit of its rows: after a crash both are there or neither. Posts of one key
//! come one after the other, so that a repeated one finds what the first has left. A key is known for
//! as long as the stream keeps rows, and the newest [`limits::POST_KEYS`] of a stream at the most.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::catalog::{Kind, Relation, RelationId};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::log::Transaction;
use crate::store::codec::{decode_json, encode_json};
use crate::store::{Space, Store, WriteBatch};

const VERSION: u8 = 1;

/// How many rows of a post were taken, and how many records rejected.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PostCounts {
    pub(super) taken: u64,
    pub(super) rejected: u64,
}

/// What is known of a post.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownPost {
    commit: u64,
    at_ms: i64,
    /// Length and checksum of the body.
    body: (u64, u32),
    counted: PostCounts,
}

/// A key at its place in the order of commits.
#[derive(Debug, Serialize, Deserialize)]
struct KeyInOrder {
    key: String,
    at_ms: i64,
}

/// How many keys of a stream there are, and from which place on.
struct KeyCount {
    count: usize,
    from: Vec<u8>,
}

/// The keys of all streams.
pub(super) struct PostKeys {
    lines: Vec<Arc<tokio::sync::Mutex<()>>>,
    counts: Mutex<HashMap<RelationId, KeyCount>>,
}

/// One post with a key.
pub(super) struct KeyedPost<'a> {
    pub(super) stream: &'a Relation,
    pub(super) key: &'a str,
    pub(super) body: &'a [u8],
    pub(super) now_ms: i64,
}

impl Default for PostKeys {
    fn default() -> PostKeys {
        let lines = (0..limits::POST_KEY_LINES).map(|_| Arc::default()).collect();
        PostKeys { lines, counts: Mutex::default() }
    }
}

impl PostKeys {
    /// No other post of this key is taken until this is dropped.
    pub(super) async fn alone(&self, stream: RelationId, key: &str) -> OwnedMutexGuard<()> {
        let hash = FixedState::default().hash_one((stream.0, key));
        let line = &self.lines[hash as usize % self.lines.len()];
        Arc::clone(line).lock_owned().await
    }

    /// What became of the post when it was taken before. 23505: the key was that of another one.
    pub(super) fn find(
        &self,
        store: &dyn Store,
        post: &KeyedPost<'_>,
    ) -> Result<Option<PostCounts>> {
        let Some(known) = read(store, post.stream.id, post.key)? else { return Ok(None) };
        if is_over(post.stream, known.at_ms, post.now_ms) {
            return Ok(None);
        }
        if known.body != told_apart(post.body) {
            let what = format!("Idempotency-Key \"{}\" was that of another post", post.key);
            return Err(Error::new(SqlState::Unique, what)
                .hint("Give each post a key of its own, and a repeated post the same body."));
        }
        Ok(Some(known.counted))
    }

    /// Adds the key to the commit of its post, and takes away what is too old.
    pub(super) fn remember(
        &self,
        store: &dyn Store,
        post: &KeyedPost<'_>,
        counted: PostCounts,
        transaction: &mut Transaction,
    ) -> Result<()> {
        self.forget_oldest(store, post, &mut transaction.puts)?;
        let (stream, key, at_ms) = (post.stream.id, post.key.to_owned(), post.now_ms);
        let body = told_apart(post.body);
        transaction.with_commit(move |commit, batch| {
            let known = KnownPost { commit: commit.0, at_ms, body, counted };
            batch.put(Space::Meta, by_key(stream, &key), encode_json(VERSION, &known)?);
            let in_order = KeyInOrder { key, at_ms };
            batch.put(Space::Meta, by_commit(stream, commit.0), encode_json(VERSION, &in_order)?);
            Ok(())
        });
        Ok(())
    }

    /// One key comes, so two may go.
    fn forget_oldest(
        &self,
        store: &dyn Store,
        post: &KeyedPost<'_>,
        batch: &mut WriteBatch,
    ) -> Result<()> {
        let stream = post.stream.id;
        let (from, to) = (by_commit(stream, 0), by_commit(stream, u64::MAX));
        let mut counts = self.counts.lock();
        let known = match counts.entry(stream) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let count = store.keys(Space::Meta, &from, &to)?.count();
                unknown.insert(KeyCount { count, from })
            }
        };
        known.count += 1;
        let oldest: Vec<Vec<u8>> =
            store.keys(Space::Meta, &known.from, &to)?.take(2).collect::<Result<_>>()?;
        for place in oldest {
            let Some(value) = store.get(Space::Meta, &place)? else { continue };
            let KeyInOrder { key, at_ms } = decode_json(VERSION, value)?;
            if known.count <= limits::POST_KEYS && !is_over(post.stream, at_ms, post.now_ms) {
                break;
            }
            // It may have come again since; and what comes now is put, not deleted.
            let last = read(store, stream, &key)?.map(|last| by_commit(stream, last.commit));
            if key != post.key && last.is_some_and(|last| last == place) {
                batch.delete(Space::Meta, by_key(stream, &key));
            }
            known.from = [place.as_slice(), &[0]].concat();
            known.count = known.count.saturating_sub(1);
            batch.delete(Space::Meta, place);
        }
        Ok(())
    }
}

/// Forgets the keys of a stream that is dropped.
pub(in crate::session) fn forget_keys(
    store: &dyn Store,
    stream: RelationId,
    batch: &mut WriteBatch,
) -> Result<()> {
    let (from, to) = (prefix(stream, ""), prefix(RelationId(stream.0 + 1), ""));
    for key in store.keys(Space::Meta, from.as_bytes(), to.as_bytes())? {
        batch.delete(Space::Meta, key?);
    }
    Ok(())
}

/// A key that can be one: 22023 otherwise.
pub(super) fn checked(key: &str) -> Result<&str> {
    let key = key.trim();
    let is_shown = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if key.is_empty() || key.len() > limits::POST_KEY_BYTES || !is_shown {
        let what = "an Idempotency-Key has visible ASCII characters only, and not too many";
        return Err(Error::new(SqlState::BadArgument, what)
            .hint(format!("Use a UUID; {} characters are allowed.", limits::POST_KEY_BYTES)));
    }
    Ok(key)
}

/// Whether the stream does not keep any more what it was told then.
fn is_over(stream: &Relation, at_ms: i64, now_ms: i64) -> bool {
    let Kind::Stream(stream) = &stream.kind else { return false };
    stream.retention_ms.is_some_and(|kept| at_ms.saturating_add(kept) < now_ms)
}

fn told_apart(body: &[u8]) -> (u64, u32) {
    (body.len() as u64, crc32fast::hash(body))
}

fn read(store: &dyn Store, stream: RelationId, key: &str) -> Result<Option<KnownPost>> {
    let value = store.get(Space::Meta, &by_key(stream, key))?;
    value.map(|value| decode_json(VERSION, value)).transpose()
}

fn prefix(stream: RelationId, what: &str) -> String {
    format!("posted/{:016x}/{what}", stream.0)
}

fn by_key(stream: RelationId, key: &str) -> Vec<u8> {
    format!("{}{key}", prefix(stream, "k/")).into_bytes()
}

fn by_commit(stream: RelationId, commit: u64) -> Vec<u8> {
    format!("{}{commit:016x}", prefix(stream, "n/")).into_bytes()
}
