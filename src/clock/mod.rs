//! Time as the engine has it: a [`Clock`] that is given to it when it is opened. The wall clock is
//! read here and nowhere else.
//!
//! What is below the sessions is told the time as a value or asks its clock, and waits by it; so a
//! test can give it a [`SimulatedClock`] and let an hour pass at once.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

mod simulated;

pub use simulated::SimulatedClock;

/// Tells the time and waits.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> i64;

    /// Done when so much time has passed.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Done when everything that waits for the present time has happened, where that can be known.
    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether time passes only when nothing else can happen: then a test may let it pass.
    fn is_simulated(&self) -> bool {
        false
    }
}

/// What the work gives, or None when it takes longer.
pub async fn timeout<T>(
    clock: &dyn Clock,
    time: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    before(clock.sleep(time), work).await
}

/// What the work gives, or None when the other is done first.
pub async fn before<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Now, on the clock that time limits are kept by; it tells no time of day.
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The moment so far from now by the machine's clock, for what waits on sockets; None: beyond what
/// it can name.
pub fn deadline(after: Duration) -> Option<tokio::time::Instant> {
    instant().checked_add(after)
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Milliseconds since it was started.
    pub fn ms(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1_000.0
    }
}
