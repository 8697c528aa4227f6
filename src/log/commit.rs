//! The commit thread: takes what is queued, writes it as one batch, syncs once, publishes and
//! answers in order.
//!
//! ```text
//! queue ─▶ stage each: number it, check it, run its with_commit ─▶ blocks ─▶ one store commit
//!              │ rejected: only its sender hears of it                          │ failed: all do
//!              ▼                                                                ▼
//!         next one gets its number           in order: on_commit; then last = number, answers
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::shared::{Shared, no_stream};
use super::staging::{Staged, check_rows, check_spec};
use super::stream::{self, Stream};
use super::transaction::{Append, JoinedBlock, OnCommit, StreamChange, Transaction};
use super::{CommitNo, LogBlock, StreamId, StreamSpec, block, untimed};
use crate::error::{Error, Result, SqlState, contained_call};
use crate::limits;
use crate::store::codec::encode_number;
use crate::store::{Space, WriteBatch, check_values};

/// A transaction in the queue.
pub(crate) struct Request {
    pub(crate) transaction: Transaction,
    pub(crate) reply: oneshot::Sender<Result<CommitNo>>,
    /// None: it was never queued.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// The commit thread's own things.
pub(crate) struct Committer {
    shared: Arc<Shared>,
}

/// A transaction that is part of the group.
struct Accepted {
    number: CommitNo,
    on_commit: Vec<OnCommit>,
    reply: oneshot::Sender<Result<CommitNo>>,
}

#[derive(Default)]
struct Group {
    batch: WriteBatch,
    streams: BTreeMap<StreamId, Staged>,
    accepted: Vec<Accepted>,
    /// An invariant did not hold while it was put together: nothing of it is written.
    broken: Option<Error>,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>) -> Committer {
        Committer { shared }
    }

    /// Until all senders are gone. It blocks in the store's commit, so in a server it has a thread
    /// of its own.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.recv().await {
            let mut bytes = first.transaction.bytes();
            let mut requests = vec![first];
            while bytes < limits::COMMIT_GROUP_BYTES
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.transaction.bytes();
                requests.push(next);
            }
            for group in apart(requests) {
                self.commit(group);
            }
        }
    }

    /// One batch, one sync; then each is answered.
    pub(crate) fn commit(&self, requests: Vec<Request>) {
        let mut group = Group::default();
        for request in requests {
            self.stage(&mut group, request);
        }
        if group.accepted.is_empty() {
            return;
        }
        let written = match group.broken.take() {
            Some(error) => Err(error),
            None => self.write(&mut group),
        };
        match written {
            Ok(blocks) => self.publish(group, blocks),
            Err(error) => {
                for accepted in group.accepted {
                    // Whoever asked may have gone; then nobody needs the answer.
                    let _ = accepted.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Takes a transaction into the group, or answers why not.
    fn stage(&self, group: &mut Group, request: Request) {
        let Request { mut transaction, reply, _room } = request;
        let number = CommitNo(self.shared.last.borrow().0 + group.accepted.len() as u64 + 1);
        let checked = self.check(group, &transaction);
        let largest = self.shared.store.largest_value();
        let computed = checked.and_then(|()| {
            // The store would refuse the whole group, and others' transactions with it.
            check_values(&transaction.puts.changes, largest)?;
            let computed = run_with_commit(&mut transaction, number)?;
            check_values(&computed.changes, largest)?;
            Ok(computed)
        });
        match computed {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(computed) => {
                let on_commit = std::mem::take(&mut transaction.on_commit);
                if let Err(error) = self.take_in(group, transaction, number) {
                    group.broken = Some(error);
                }
                group.batch.changes.extend(computed.changes);
                group.accepted.push(Accepted { number, on_commit, reply });
            }
        }
    }

    /// Everything that can be wrong with a transaction, before anything of it is taken in.
    fn check(&self, group: &Group, transaction: &Transaction) -> Result<()> {
        for (at, change) in transaction.changes.iter().enumerate() {
            match change {
                StreamChange::Create(id, spec) => {
                    check_spec(spec)?;
                    if self.spec(group, &transaction.changes[..at], *id).is_some() {
                        return Err(Error::new(
                            SqlState::DuplicateObject,
                            format!("stream number {} is there already", id.0),
                        ));
                    }
                }
                StreamChange::Drop(id)
                | StreamChange::Forget { stream: id, .. }
                | StreamChange::Join(id, _) => {
                    self.spec(group, &transaction.changes[..at], *id)
                        .ok_or_else(|| no_stream(*id))?;
                }
            }
        }
        for (id, append) in &transaction.appends {
            let spec = self.spec(group, &transaction.changes, *id).ok_or_else(|| no_stream(*id))?;
            if let Append::Rows(rows) = append {
                check_rows(&spec, rows)?;
            }
        }
        Ok(())
    }

    /// The spec of a stream as the transaction with these changes sees it.
    fn spec(
        &self,
        group: &Group,
        changes: &[StreamChange],
        stream: StreamId,
    ) -> Option<Arc<StreamSpec>> {
        for change in changes.iter().rev() {
            match change {
                StreamChange::Create(id, spec) if *id == stream => {
                    return Some(Arc::new(spec.clone()));
                }
                StreamChange::Drop(id) if *id == stream => return None,
                StreamChange::Create(..)
                | StreamChange::Drop(_)
                | StreamChange::Forget { .. }
                | StreamChange::Join(..) => {}
            }
        }
        match group.streams.get(&stream) {
            Some(staged) => (!staged.is_dropped).then(|| Arc::clone(&staged.spec)),
            None => self.shared.streams.read().get(&stream).map(|s| Arc::clone(&s.spec)),
        }
    }

    fn take_in(&self, group: &mut Group, transaction: Transaction, number: CommitNo) -> Result<()> {
        group.batch.changes.extend(transaction.puts.changes);
        for change in transaction.changes {
            match change {
                StreamChange::Create(id, spec) => {
                    group.streams.insert(id, Staged::created(spec));
                }
                StreamChange::Drop(id) => self.staged(group, id)?.is_dropped = true,
                StreamChange::Forget { stream, first_offset, keys, bytes } => {
                    if self.staged(group, stream)?.forget(first_offset, bytes) {
                        keys.into_iter().for_each(|key| group.batch.delete(Space::Log, key));
                    }
                }
                StreamChange::Join(id, block) => {
                    self.staged(group, id)?.join(block);
                }
            }
        }
        for (id, append) in transaction.appends {
            self.staged(group, id)?.append(number, append, transaction.time_ms)?;
        }
        Ok(())
    }

    fn staged<'a>(&self, group: &'a mut Group, stream: StreamId) -> Result<&'a mut Staged> {
        match group.streams.entry(stream) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let streams = self.shared.streams.read();
                let found = streams.get(&stream).ok_or_else(|| {
                    Error::internal(format!("stream {} was checked and is not there", stream.0))
                })?;
                Ok(entry.insert(Staged::of(Arc::clone(&found.spec), found.state)))
            }
        }
    }

    /// One batch, one sync. Returns the new blocks of each stream.
    fn write(&self, group: &mut Group) -> Result<Vec<(StreamId, Vec<LogBlock>)>> {
        let mut all = Vec::new();
        let batch = &mut group.batch;
        for (id, staged) in &mut group.streams {
            if staged.is_dropped {
                self.delete_stream(batch, *id)?;
                continue;
            }
            self.put_joined(*id, std::mem::take(&mut staged.joined), batch);
            let blocks = staged.blocks()?;
            let (spec, before) = (Arc::clone(&staged.spec), staged.state.untimed);
            staged.state.untimed = untimed::put(*id, &spec, &blocks, before, staged.time_ms, batch);
            for new in &blocks {
                let value = block::encode(new, staged.time_ms)?;
                staged.state.bytes += value.len() as u64;
                batch.put(Space::Log, block::key(*id, new.first_offset, new.first_commit()), value);
            }
            if staged.is_created {
                batch.put(Space::Meta, stream::spec_key(*id), stream::encode_spec(&staged.spec));
            }
            batch.put(Space::Meta, stream::state_key(*id), staged.state.encode());
            all.push((*id, blocks));
        }
        let last = self.shared.last.borrow().0 + group.accepted.len() as u64;
        batch.put(Space::Meta, stream::LAST_COMMIT, encode_number(last));
        self.shared.store.commit(std::mem::take(batch))?;
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        Ok(all)
    }

    fn put_joined(&self, stream: StreamId, joined: Vec<JoinedBlock>, batch: &mut WriteBatch) {
        if joined.is_empty() {
            return;
        }
        // Before it can be seen in the store: a reader that finds the count as it was has passed
        // over nothing.
        if let Some(stream) = self.shared.streams.write().get_mut(&stream) {
            stream.joins += 1;
        }
        for JoinedBlock { keys, value, .. } in joined {
            let mut keys = keys.into_iter();
            if let Some(first) = keys.next() {
                batch.put(Space::Log, first, value);
            }
            keys.for_each(|key| batch.delete(Space::Log, key));
        }
    }

    fn delete_stream(&self, batch: &mut WriteBatch, stream: StreamId) -> Result<()> {
        let (from, to) = block::all_keys(stream);
        for key in self.shared.store.keys(Space::Log, &from, &to)? {
            batch.delete(Space::Log, key?);
        }
        batch.delete(Space::Meta, stream::spec_key(stream));
        batch.delete(Space::Meta, stream::state_key(stream));
        untimed::delete(&*self.shared.store, stream, batch)
    }

    fn publish(&self, group: Group, blocks: Vec<(StreamId, Vec<LogBlock>)>) {
        let Group { streams: mut staged, accepted, .. } = group;
        {
            let mut streams = self.shared.streams.write();
            for (id, blocks) in blocks {
                // Only what was staged has blocks.
                let Some(staged) = staged.remove(&id) else { continue };
                let spec = &staged.spec;
                let stream = streams
                    .entry(id)
                    .or_insert_with(|| Stream::new((**spec).clone(), stream::StreamStats::NEW));
                stream.state = staged.state;
                stream.loose = stream.loose.map(|loose| loose.saturating_add(blocks.len()));
                self.shared.tails.push(stream, blocks);
            }
            for id in staged.keys() {
                if let Some(stream) = streams.remove(id) {
                    self.shared.tails.remove(&stream);
                }
            }
            self.shared.tails.fit(&mut streams);
        }
        let Some(last) = accepted.last().map(|accepted| accepted.number) else { return };
        let mut replies = Vec::with_capacity(accepted.len());
        {
            // The group becomes visible at once: whoever waits for commits is woken once for it.
            let _publishing = self.shared.publishing_commit.write();
            for Accepted { number, on_commit, reply } in accepted {
                on_commit.into_iter().for_each(|publish| run_on_commit(publish, number));
                replies.push((number, reply));
            }
            self.shared.last.replace(last);
        }
        for (number, reply) in replies {
            let _ = reply.send(Ok(number));
        }
    }
}

/// The requests in their order, those that make room apart from the others: these may be refused,
/// on a full disk, when those are not.
fn apart(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut groups: Vec<Vec<Request>> = Vec::new();
    let mut made_room = None;
    for request in requests {
        let makes_room = request.transaction.makes_room();
        match groups.last_mut() {
            Some(group) if made_room == Some(makes_room) => group.push(request),
            Some(_) | None => groups.push(vec![request]),
        }
        made_room = Some(makes_room);
    }
    groups
}

fn run_on_commit(publish: OnCommit, number: CommitNo) {
    // Durable but not published: going on would show states that never were.
    if catch_unwind(AssertUnwindSafe(|| publish(number))).is_err() {
        crate::store::fatal(&Error::internal(format!(
            "commit {} could not be published",
            number.0
        )));
    }
}

fn run_with_commit(transaction: &mut Transaction, number: CommitNo) -> Result<WriteBatch> {
    let mut computed = WriteBatch::default();
    for compute in std::mem::take(&mut transaction.with_commit) {
        contained_call("the commit", || compute(number, &mut computed))?;
    }
    Ok(computed)
}
