//! A sink as the rest of the server sees it: how far it has come, and what keeps it from going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::outbox::OutboxRecord;
use crate::catalog::RelationId;
use crate::connect::Sink;
use crate::error::Error;
use crate::limits;
use crate::time::Watermark;

/// What `tidemill.sinks` shows.
#[derive(Debug, Clone, Default)]
pub struct SinkFigures {
    /// The last epoch that has gone out.
    pub epoch: u64,
    /// How many rows have.
    pub rows: u64,
    /// The watermark that has gone out with them, ticks: of a stream that a query writes.
    pub watermark: Option<Watermark>,
    /// How often the other side has not taken what it was offered, since the start.
    pub retries: u64,
    /// How often in succession.
    pub in_succession: u64,
    /// Why it did not last, until it takes it.
    pub error: Option<Error>,
}

/// A sink as the rest of the server sees it.
pub struct SinkHandle {
    /// Its relation.
    pub id: RelationId,
    figures: Mutex<SinkFigures>,
    /// Bytes of changes that wait.
    waiting: AtomicUsize,
    /// Less waits than before.
    pub(super) taken: Notify,
    /// The other side, once it could be opened.
    pub(super) outside: Mutex<Option<Arc<dyn Sink>>>,
    /// Held while something goes out: whoever holds it knows that nothing is on its way.
    pub(super) alone: tokio::sync::Mutex<()>,
    /// It is to publish no more.
    pub(super) stop: CancellationToken,
}

impl SinkHandle {
    /// One of which nothing is known yet.
    pub(super) fn new(id: RelationId) -> Arc<SinkHandle> {
        Arc::new(SinkHandle {
            id,
            figures: Mutex::default(),
            waiting: AtomicUsize::new(0),
            taken: Notify::new(),
            outside: Mutex::default(),
            alone: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// The figures.
    pub fn figures(&self) -> SinkFigures {
        self.figures.lock().clone()
    }

    /// Bytes of changes that wait to go out.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether its query must not add to what waits.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes() >= limits::OUTBOX_BYTES
    }

    /// So much waits, by the store.
    pub(super) fn count(&self, bytes: usize) {
        self.waiting.store(bytes, Ordering::Relaxed);
    }

    /// So much more waits.
    pub(super) fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has come that far, and so much less waits.
    pub(super) fn published(&self, record: &OutboxRecord, bytes: usize) {
        let mut figures = self.figures.lock();
        (figures.epoch, figures.rows) = (record.published, record.rows);
        (figures.in_succession, figures.error) = (0, None);
        drop(figures);
        // Never below zero, whatever was counted anew meanwhile.
        let less = |waiting: usize| Some(waiting.saturating_sub(bytes));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.taken.notify_waiters();
    }

    /// A stream has come to this watermark, with all that goes before it.
    pub(super) fn advanced(&self, to: Watermark) {
        self.figures.lock().watermark = Some(to);
        self.taken.notify_waiters();
    }

    /// The other side has not taken it.
    pub(super) fn failed(&self, error: &Error) {
        let mut figures = self.figures.lock();
        figures.retries += 1;
        figures.in_succession += 1;
        figures.error = Some(error.clone());
        drop(figures);
        self.taken.notify_waiters();
    }
}
