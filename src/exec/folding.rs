//! Folding: what keeps that short which a restart has to read, a little with every commit.
//!
//! ```text
//!           folded                          a sweep begins           now
//!  ──────────┬──────────────────────────────────┬────────────────────┬─▶ epochs
//!  deleted   │ changes   pieces 1 … n   changes  │ changes   pieces 1 … k
//! ```
//! A *sweep* goes through all of a query's state tables and its answer, and writes them anew in
//! pieces, as they are in the epoch of each piece (a fuzzy checkpoint: Mohan et al., ARIES, 1992).
//! When it has come to the end, everything written before it began is superfluous, since a row that
//! has not changed since is in one of its pieces and one that has is in a change after it. Nothing
//! is ever rewritten as a whole.
//!
//! A sweep begins when the changes have grown as large as the state, and writes twice the bytes of
//! each change; so it is through after changes of half the state, there are at most one and a half
//! times the state of changes (and a piece), and every byte of change costs two. A commit writes at
//! most twice its own changes and one piece more, and deletes at most [`STATE_DELETIONS`] keys of
//! each kind. A restart begins the sweep again; the pieces that it had are read like any other
//! until they are deleted.
//!
//! Changes of the answer are also read by views on this one that are behind. While there are such
//! they stay.

use super::codec::{ROWS, StateTables, key, piece, prefix};
use super::progress::Progress;
use super::stored::EpochWriter;
use crate::error::Result;
use crate::limits::STATE_DELETIONS;
use crate::state::{PieceCursor, RowStore, piece_rows};
use crate::store::{Space, Store};

/// How many bytes of pieces are written for a byte of changes.
const PACE: u64 = 2;

/// How many times as many when there are that many times more changes than there should be.
const HURRY: u64 = 4;

/// Whether the changes of an answer that are not needed for a restart may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// Everybody who reads them has.
    Allowed,
    /// A view on this one still has changes to take, perhaps after a long pause.
    Held,
}

/// The folding of one query.
#[derive(Debug)]
pub(super) struct Folder {
    /// Less than this is not folded, bytes.
    smallest: u64,
    sweep: Option<Sweep>,
    state: Sweeper,
    views: Sweeper,
}

/// A walk through state and answer.
#[derive(Debug)]
struct Sweep {
    /// The epoch of its first piece.
    started: u64,
    /// The last change of the answer before that.
    answer: u64,
    /// Which table, and where in it; the answer is the last.
    table: usize,
    cursor: PieceCursor,
    /// What it has written.
    written: u64,
    /// What changes have been written since it began.
    logged: u64,
    /// What it may still write.
    credit: i64,
}

/// The deletion of what was stored before an epoch.
#[derive(Debug, Default)]
struct Sweeper {
    /// Where it goes on: a scan over keys that are deleted already is slow.
    from: Vec<u8>,
    /// Everything before this epoch is deleted.
    clean: u64,
}

/// What is folded, as of the end of an epoch.
pub(super) struct Folded<'a> {
    /// The state.
    pub(super) tables: StateTables<'a>,
    /// The answer.
    pub(super) rows: &'a RowStore,
    /// The last change of the answer before the epoch.
    pub(super) answer_before: u64,
    /// Whether changes of the answer may go.
    pub(super) folding: Folding,
}

impl Folder {
    /// A folder that begins at so many bytes of changes.
    pub(super) fn from_bytes(smallest: u64) -> Folder {
        Folder { smallest, sweep: None, state: Sweeper::default(), views: Sweeper::default() }
    }

    /// To be called when an epoch's changes have been added to a commit: adds what belongs to
    /// folding.
    pub(super) fn fold(
        &mut self,
        store: &dyn Store,
        progress: &mut Progress,
        folded: Folded<'_>,
        writer: &mut EpochWriter<'_>,
    ) -> Result<()> {
        let logged = writer.bytes;
        progress.change_bytes += logged;
        let size = progress.base_bytes.max(self.smallest);
        // Sweeps that restarts have cut off are made up for.
        let pace = PACE * (progress.change_bytes / size).clamp(1, HURRY);
        let credit = i64::try_from(logged.saturating_mul(pace)).unwrap_or(i64::MAX);
        match &mut self.sweep {
            Some(sweep) => {
                sweep.logged += logged;
                sweep.credit = sweep.credit.saturating_add(credit);
            }
            None if progress.change_bytes > size => {
                self.sweep = Some(Sweep {
                    started: progress.epoch,
                    answer: folded.answer_before,
                    table: 0,
                    cursor: PieceCursor::default(),
                    written: 0,
                    logged: 0,
                    credit,
                });
            }
            None => {}
        }
        if let Some(sweep) = &mut self.sweep
            && sweep.go_on(folded.tables, folded.rows, writer)?
        {
            progress.folded = sweep.started;
            progress.folded_answer = sweep.answer;
            progress.base_bytes = sweep.written;
            progress.change_bytes = sweep.logged;
            self.sweep = None;
        }
        if folded.folding == Folding::Allowed && progress.folded > progress.base_epoch + 1 {
            progress.base_epoch = progress.folded - 1;
            progress.base_answer = progress.folded_answer;
        }
        self.state.delete(store, Space::State, progress.folded, writer)?;
        self.views.delete(store, Space::Views, progress.folded.min(progress.base_epoch + 1), writer)
    }
}

impl Sweep {
    /// Writes pieces as long as there is credit; true: it has come to the end.
    fn go_on(
        &mut self,
        mut tables: StateTables<'_>,
        rows: &RowStore,
        writer: &mut EpochWriter<'_>,
    ) -> Result<bool> {
        while self.credit > 0 {
            let before = writer.bytes;
            match tables.get_mut(self.table) {
                Some((part, table)) => {
                    let wanted = piece_rows(table.size(), table.rows());
                    match table.piece(&mut self.cursor, wanted)? {
                        Some(piece) => writer.put_rows(*part, &piece)?,
                        None => {
                            (self.table, self.cursor) = (self.table + 1, PieceCursor::default())
                        }
                    }
                }
                None => {
                    match rows.piece(self.cursor.next, piece_rows(rows.bytes(), rows.rows()))? {
                        Some((numbered, next)) => {
                            writer.put_rows(ROWS, &piece(&numbered)?)?;
                            self.cursor.next = next;
                        }
                        None => return Ok(true),
                    }
                }
            }
            self.written += writer.bytes - before;
            self.credit -= i64::try_from(writer.bytes - before).unwrap_or(i64::MAX);
        }
        Ok(false)
    }
}

impl Sweeper {
    /// Deletes some of what was stored before an epoch.
    fn delete(
        &mut self,
        store: &dyn Store,
        space: Space,
        before: u64,
        writer: &mut EpochWriter<'_>,
    ) -> Result<()> {
        if self.clean >= before {
            return Ok(());
        }
        let id = writer.id;
        let from = if self.from.is_empty() { prefix(id) } else { self.from.clone() };
        let to = key(id, before, 0, 0);
        let keys =
            store.keys(space, &from, &to)?.take(STATE_DELETIONS).collect::<Result<Vec<_>>>()?;
        match keys.last() {
            Some(last) if keys.len() == STATE_DELETIONS => self.from = last.clone(),
            Some(_) | None => (self.from, self.clean) = (to, before),
        }
        writer.delete(space, keys);
        Ok(())
    }
}
