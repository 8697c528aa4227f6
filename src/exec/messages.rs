//! What is said between the threads of the engine, and who runs beside the epoch loop.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::view::handle::QueryFigures;
use super::view::run::ViewRun;
use crate::catalog::RelationId;
use crate::log::CommitNo;

/// What the epoch loop is asked to do.
pub(super) enum Command {
    /// A view that has caught up.
    Join(Box<ViewRun>),
    /// Answers when those of these views that run have read this commit and what their connectors have.
    Sync(Waiting),
    /// A view that is not in the loop has published something.
    Look,
    /// Takes a view out; answers when it is out.
    Leave(RelationId, oneshot::Sender<()>),
    /// Finishes the running epoch and ends.
    Stop(oneshot::Sender<()>),
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
    /// Its text.
    pub sql: String,
    /// Its figures.
    pub figures: Mutex<QueryFigures>,
}
