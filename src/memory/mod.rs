//! Whose memory it is: one pool under `--memory-limit`, with a figure for each large part of the
//! server.
//!
//! DataFusion's operators ask a pool before they grow. So does everything else here that grows with
//! data: recently written rows of logs, rows of tables and views, state, what clients have sent.
//! [`Accounts`] is that pool; it knows by the name of whoever asks which [`MemoryPart`] of the
//! server it is, and the most that was ever taken. `tidemill.memory` shows it.
//!
//! What nobody reserves (the store's caches, the code itself) is seen from outside: [`process`] has
//! what the system says, [`allocated`] counts what is allocated, so that it is known how much of
//! the rest the allocator only holds. How large rows are is in [`rows`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

pub mod allocated;
pub mod process;
pub mod rows;

/// A part of the server that holds memory by the amount of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum MemoryPart {
    /// Blocks of logs that were written last.
    LogTails,
    /// Rows and keys of static tables.
    Tables,
    /// Rows of materialized views.
    Views,
    /// State of continuous queries.
    State,
    /// What clients have sent of messages that are not done with.
    Messages,
    /// Rows of transactions that are not committed.
    Writes,
    /// Operators of queries that run: all other consumers.
    Queries,
}

impl MemoryPart {
    /// All of them, in the order of their numbers.
    pub const ALL: [MemoryPart; 7] = [
        MemoryPart::LogTails,
        MemoryPart::Tables,
        MemoryPart::Views,
        MemoryPart::State,
        MemoryPart::Messages,
        MemoryPart::Writes,
        MemoryPart::Queries,
    ];

    /// What its consumers are called.
    pub const fn consumer(self) -> &'static str {
        match self {
            MemoryPart::LogTails => "the newest blocks of streams",
            MemoryPart::Tables => "the rows of a table",
            MemoryPart::Views => "the rows of a materialized view",
            MemoryPart::State => "the state of a continuous query",
            MemoryPart::Messages => "what a client has sent",
            MemoryPart::Writes => "what a transaction has written",
            MemoryPart::Queries => "the operators of a query",
        }
    }

    fn of(consumer: &MemoryConsumer) -> MemoryPart {
        let named = MemoryPart::ALL.into_iter().find(|part| part.consumer() == consumer.name());
        named.unwrap_or(MemoryPart::Queries)
    }
}

/// The pool: first come, first served, up to the limit.
#[derive(Debug)]
pub struct Accounts {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    parts: [AtomicUsize; MemoryPart::ALL.len()],
}

impl Accounts {
    /// Of so many bytes.
    pub fn new(limit: usize) -> Arc<Accounts> {
        Arc::new(Accounts {
            limit,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            parts: Default::default(),
        })
    }

    /// An empty reservation for a part.
    pub fn reserve(self: &Arc<Self>, part: MemoryPart) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::clone(self) as _;
        MemoryConsumer::new(part.consumer()).register(&pool)
    }

    /// How many bytes there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The most that was reserved at one time.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// What a part has reserved now.
    pub fn part(&self, part: MemoryPart) -> usize {
        self.parts[part as usize].load(Ordering::Relaxed)
    }

    fn grown(&self, reservation: &MemoryReservation, additional: usize, used: usize) {
        self.parts[MemoryPart::of(reservation.consumer()) as usize]
            .fetch_add(additional, Ordering::Relaxed);
        self.peak.fetch_max(used, Ordering::Relaxed);
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.reserved(), self.limit)
    }
}

impl MemoryPool for Accounts {
    fn name(&self) -> &str {
        "accounts"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let before = self.used.fetch_add(additional, Ordering::Relaxed);
        self.grown(reservation, additional, before.saturating_add(additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.parts[MemoryPart::of(reservation.consumer()) as usize]
            .fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let within = |used: usize| used.checked_add(additional).filter(|used| *used <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(before) => {
                self.grown(reservation, additional, before + additional);
                Ok(())
            }
            Err(used) => Err(DataFusionError::ResourcesExhausted(format!(
                "{} needs {additional} bytes more, {} of {} bytes are free",
                reservation.consumer().name(),
                self.limit.saturating_sub(used),
                self.limit
            ))),
        }
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_counted_for_itself_and_all_of_them_under_one_limit() {
        let accounts = Accounts::new(100);
        let pool: Arc<dyn MemoryPool> = Arc::clone(&accounts) as _;
        let (tails, query) = (
            accounts.reserve(MemoryPart::LogTails),
            MemoryConsumer::new("Sort[0]").register(&pool),
        );
        tails.try_grow(60).unwrap();
        query.try_grow(40).unwrap();
        let refused = query.try_grow(1).unwrap_err().to_string();
        assert!(
            refused.contains("Sort[0] needs 1 bytes more, 0 of 100 bytes are free"),
            "{refused}"
        );
        assert_eq!(
            (accounts.part(MemoryPart::LogTails), accounts.part(MemoryPart::Queries)),
            (60, 40)
        );
        drop(query);
        tails.resize(10);
        assert_eq!(
            (accounts.reserved(), accounts.part(MemoryPart::Queries), accounts.peak()),
            (10, 0, 100)
        );
    }
}
