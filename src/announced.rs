//! A value that many wait for, told in the order in which they began to wait.
//!
//! tokio's channel of this kind wakes its receivers in an order drawn at random, which spreads them
//! over its locks. Two views that wait for the same view would then catch up in another order each
//! time, and what a simulation does would not be a function of its seed. Few wait here, and one
//! list of them is enough.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

struct Announcement<T> {
    value: RwLock<T>,
    /// How often it has changed.
    version: AtomicU64,
    changed: Notify,
}

/// The value will not change any more: whoever could change it has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMoreChanges;

/// The end at which the value is changed.
pub struct Announced<T>(Arc<Announcement<T>>);

/// An end at which changes are waited for; a clone has seen what the original has.
pub struct Listener<T> {
    shared: Arc<Announcement<T>>,
    /// The version that was looked at last.
    seen: u64,
}

/// The version of a value that changes no more.
const ENDED: u64 = u64::MAX;

impl<T> Announced<T> {
    /// A value that nobody waits for yet.
    pub fn new(value: T) -> Announced<T> {
        let (value, version) = (RwLock::new(value), AtomicU64::new(0));
        Announced(Arc::new(Announcement { value, version, changed: Notify::new() }))
    }

    /// The value now; whoever holds it holds up changes.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read()
    }

    /// Another end at which to wait, which has seen the value as it is now.
    pub fn listen(&self) -> Listener<T> {
        Listener { shared: Arc::clone(&self.0), seen: self.0.version.load(Ordering::Acquire) }
    }

    /// Puts another value in its place and wakes whoever waits.
    pub fn replace(&self, value: T) {
        self.change_if(|held| {
            *held = value;
            true
        });
    }

    /// Changes the value, and wakes whoever waits if `change` says that it has; says so, too.
    pub fn change_if(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let is_changed = {
            let mut value = self.0.value.write();
            let is_changed = change(&mut value);
            if is_changed {
                self.0.version.fetch_add(1, Ordering::Release);
            }
            is_changed
        };
        if is_changed {
            self.0.changed.notify_waiters();
        }
        is_changed
    }
}

impl<T> Drop for Announced<T> {
    fn drop(&mut self) {
        self.0.version.store(ENDED, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

impl<T: Clone> Listener<T> {
    /// Waits until the value is as is asked for, and gives it as it was then.
    pub async fn wait_for(&mut self, is_so: impl Fn(&T) -> bool) -> Result<T, NoMoreChanges> {
        loop {
            {
                let value = self.borrow_and_update();
                if is_so(&value) {
                    return Ok(value.clone());
                }
            }
            self.changed().await?;
        }
    }
}

impl<T> Listener<T> {
    /// The value now; whoever holds it holds up changes.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value.read()
    }

    /// The value now, which then counts as seen.
    pub fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.value.read();
        let version = self.shared.version.load(Ordering::Acquire);
        if version != ENDED {
            self.seen = version;
        }
        value
    }

    /// Whatever the value is, it has been seen.
    pub fn mark_unchanged(&mut self) {
        drop(self.borrow_and_update());
    }

    /// Whatever the value is, it has not been seen.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// Waits until the value is one that has not been seen; then it has.
    pub async fn changed(&mut self) -> Result<(), NoMoreChanges> {
        loop {
            let mut waiting = std::pin::pin!(self.shared.changed.notified());
            // From here on no change is missed.
            waiting.as_mut().enable();
            match self.shared.version.load(Ordering::Acquire) {
                ENDED => return Err(NoMoreChanges),
                version if version != self.seen => {
                    self.seen = version;
                    return Ok(());
                }
                _ => waiting.await,
            }
        }
    }
}

impl<T> Clone for Listener<T> {
    fn clone(&self) -> Self {
        Listener { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Announced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Announced").field(&*self.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn who_waits_is_told_in_the_order_in_which_they_began() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (announced, told) = (Announced::new(0), Arc::new(Mutex::new(Vec::new())));
            let tasks: Vec<_> = (0..100)
                .map(|n| {
                    let (mut listener, told) = (announced.listen(), Arc::clone(&told));
                    tokio::spawn(async move {
                        listener.wait_for(|value| *value == 7).await.map(|_| told.lock().push(n))
                    })
                })
                .collect();
            // The runtime runs some of them at a time.
            for _ in 0..tasks.len() {
                tokio::task::yield_now().await;
            }
            announced.replace(7);
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            assert_eq!(*told.lock(), (0..100).collect::<Vec<_>>());
        });
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_end_by_everybody() {
        let announced = Announced::new(1);
        let (mut one, mut other) = (announced.listen(), announced.listen());
        assert!(!announced.change_if(|_| false));
        assert!(announced.change_if(|value| std::mem::replace(value, 2) == 1));
        assert_eq!(one.changed().await, Ok(()));
        assert_eq!((*one.borrow(), *other.borrow_and_update()), (2, 2));
        other.mark_changed();
        assert_eq!(other.changed().await, Ok(()));
        let waits = tokio::spawn(async move { one.changed().await });
        tokio::task::yield_now().await;
        drop(announced);
        assert_eq!(waits.await.unwrap(), Err(NoMoreChanges));
        assert_eq!(other.changed().await, Err(NoMoreChanges));
        assert_eq!(*other.borrow(), 2, "what it was at last is still there");
    }
}
