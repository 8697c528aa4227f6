//! What is said between the threads of the engine, and who runs beside the epoch loop.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::view::handle::{QueryFigures, ViewVersion};
use super::view::run::ViewRun;
use crate::announced::Announced;
use crate::catalog::RelationId;
use crate::log::CommitNo;

/// What the epoch loop is asked to do.
pub(super) enum Command {
    /// A view that has caught up.
    Join(Box<ViewRun>),
    /// Answers when those of these views that run have read this commit and what their connectors
    /// have.
    Sync(Waiting),
    /// A view that is not in the loop has published something.
    Look,
    /// Takes a view out; answers when it is out.
    Leave(RelationId, oneshot::Sender<()>),
    /// Finishes the running epoch and ends.
    Stop(oneshot::Sender<()>),
}

/// A commit at which some views stop for a moment, for a statement that reads them all.
#[derive(Debug)]
pub(super) struct Agreement {
    /// The commit.
    pub cut: CommitNo,
    /// What each of them was there; None: it has not come there.
    pub versions: Mutex<HashMap<RelationId, Option<Arc<ViewVersion>>>>,
    /// One more has come there.
    pub came: Notify,
}

/// Someone who waits for views.
pub(super) struct Waiting {
    /// What they wait for.
    pub target: CommitNo,
    /// Of these.
    pub views: Vec<RelationId>,
    /// Tells them.
    pub answer: oneshot::Sender<()>,
}

/// A continuous SELECT as `tidemill.queries` shows it.
pub struct TemporaryQuery {
    /// Its number.
    pub id: u64,
    /// What it reads.
    pub sources: Vec<RelationId>,
    /// Its text.
    pub sql: String,
    /// Its figures.
    pub figures: Mutex<QueryFigures>,
    /// Which view's changes it has read, and up to which epoch: those after it are kept.
    pub places: Mutex<Vec<(RelationId, u64)>>,
    /// How many bytes these views have changed by since its client was last waited for; None: it
    /// takes what it is given.
    pub unread: Announced<Option<usize>>,
}

impl TemporaryQuery {
    /// A query that has read nothing.
    pub(super) fn new(id: u64, sources: Vec<RelationId>, sql: String) -> TemporaryQuery {
        let (figures, places) = (Mutex::default(), Mutex::default());
        TemporaryQuery { id, sources, sql, figures, places, unread: Announced::new(None) }
    }

    /// A view changes by so many bytes, which are kept for it if it reads that view.
    pub(super) fn keep(&self, view: RelationId, bytes: usize) {
        if self.places.lock().iter().any(|(source, _)| *source == view) {
            self.unread.change_if(|unread| {
                let is_waiting = unread.is_some();
                *unread = unread.map(|before| before.saturating_add(bytes));
                is_waiting
            });
        }
    }
}
