//! A clock that stands still while anything can be done, and then goes to the next moment that
//! somebody waits for.
//!
//! It belongs to a runtime of one thread ([`SimulatedClock::runtime`]). Before that thread would
//! sleep because every task waits, the clock moves: to a sleep that ends now, else to whoever wanted
//! to know that all has settled, else to the earliest end of a sleep. So waiting costs nothing, and
//! what happens is a function of the tasks alone.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use super::Clock;

/// Simulated time; clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct SimulatedClock(Arc<Mutex<SimulatedTimes>>);

#[derive(Debug, Default)]
struct SimulatedTimes {
    now_ms: i64,
    /// By the end of the sleep; of several with the same end the first that began comes first.
    sleepers: BTreeMap<(i64, u64), Waker>,
    /// Those who wait until nothing can be done.
    settling: Vec<Waker>,
    /// How often that was so.
    settled: u64,
    sleeps: u64,
}

impl SimulatedClock {
    /// A clock that begins then.
    pub fn new(now_ms: i64) -> SimulatedClock {
        SimulatedClock(Arc::new(Mutex::new(SimulatedTimes { now_ms, ..SimulatedTimes::default() })))
    }

    /// The runtime whose idleness moves this clock. It has no timers and no sockets: who waits by
    /// another clock is found out.
    pub fn runtime(&self) -> std::io::Result<Runtime> {
        let clock = self.clone();
        Builder::new_current_thread().on_thread_park(move || clock.move_on()).build()
    }

    /// Every task waits.
    fn move_on(&self) {
        let woken = {
            let mut times = self.0.lock();
            let now_ms = times.now_ms;
            let is_due =
                times.sleepers.first_key_value().is_some_and(|((end, _), _)| *end <= now_ms);
            if is_due || times.settling.is_empty() {
                let next = times.sleepers.pop_first();
                if let Some(((end, _), _)) = &next {
                    times.now_ms = times.now_ms.max(*end);
                }
                next.into_iter().map(|(_, waker)| waker).collect()
            } else {
                times.settled += 1;
                std::mem::take(&mut times.settling)
            }
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        self.0.lock().now_ms
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let mut times = self.0.lock();
        // A sleep has not ended before its time, so a part of a millisecond is a whole one.
        let ms = i64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX);
        times.sleeps += 1;
        let key = (times.now_ms.saturating_add(ms), times.sleeps);
        Box::pin(SimulatedSleep { clock: self.clone(), key })
    }

    /// Done when every task waits for time to pass. No time passes.
    fn settled(&self) -> BoxFuture<'_, ()> {
        let seen = self.0.lock().settled;
        let settled = std::future::poll_fn(move |cx| {
            let mut times = self.0.lock();
            if times.settled > seen {
                return Poll::Ready(());
            }
            times.settling.push(cx.waker().clone());
            Poll::Pending
        });
        Box::pin(settled)
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

struct SimulatedSleep {
    clock: SimulatedClock,
    key: (i64, u64),
}

impl Future for SimulatedSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut times = self.clock.0.lock();
        if times.now_ms >= self.key.0 {
            return Poll::Ready(());
        }
        times.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for SimulatedSleep {
    fn drop(&mut self) {
        self.clock.0.lock().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timeout;

    #[test]
    fn sleeps_end_in_order_and_an_hour_takes_no_time() {
        let clock = SimulatedClock::new(1_000);
        let ends = Arc::new(Mutex::new(Vec::new()));
        clock.runtime().unwrap().block_on(async {
            let sleeps = [3_600_000, 5, 5, 1].map(|ms| {
                let (clock, ends) = (clock.clone(), Arc::clone(&ends));
                tokio::spawn(async move {
                    clock.sleep(Duration::from_millis(ms)).await;
                    ends.lock().push(clock.now_ms());
                })
            });
            clock.settled().await;
            assert_eq!((clock.now_ms(), ends.lock().len()), (1_000, 0));
            for sleep in sleeps {
                sleep.await.unwrap();
            }
        });
        assert_eq!(*ends.lock(), [1_001, 1_005, 1_005, 3_601_000]);
    }

    #[test]
    fn what_takes_too_long_is_given_up_at_that_moment() {
        let clock = SimulatedClock::new(0);
        clock.runtime().unwrap().block_on(async {
            let patience = Duration::from_millis(10);
            assert_eq!(timeout(&clock, patience, std::future::pending::<()>()).await, None);
            assert_eq!(timeout(&clock, patience, std::future::ready(7)).await, Some(7));
            assert_eq!(clock.now_ms(), 10);
            assert!(clock.0.lock().sleepers.is_empty(), "nobody waits for what is over");
        });
    }
}
