//! Who may be cancelled: the living connections by number, each with its secret.
//!
//! CancelRequest comes over a connection of its own, names a number and a secret, and is answered
//! by closing. A wrong pair changes nothing and tells nothing. The signal is a counter: a
//! connection notes its value when it is idle, so that a request that comes too late does not hit
//! the next statement.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// All connections that are logged in, or about to be.
#[derive(Default)]
pub(super) struct Registry(Mutex<Living>);

#[derive(Default)]
struct Living {
    last: i32,
    by_id: HashMap<i32, CancelTarget>,
}

struct CancelTarget {
    secret: i32,
    signal: watch::Sender<u64>,
}

/// A connection's place in the registry; dropping it gives the number back.
pub(super) struct Ticket {
    pub id: i32,
    pub secret: i32,
    /// Changes when someone asks to cancel.
    pub signal: watch::Receiver<u64>,
    registry: Arc<Registry>,
}

impl Registry {
    /// Enters a connection under a number nobody alive has.
    pub fn enter(self: &Arc<Self>) -> Ticket {
        let (sender, signal) = watch::channel(0);
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        let secret = i32::from_be_bytes([a, b, c, d]);
        let mut living = self.0.lock();
        let mut id = living.last;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !living.by_id.contains_key(&id) {
                break;
            }
        }
        living.last = id;
        living.by_id.insert(id, CancelTarget { secret, signal: sender });
        Ticket { id, secret, signal, registry: Arc::clone(self) }
    }

    /// Cancels what the connection runs, if the secret is the right one.
    pub fn cancel(&self, id: i32, secret: i32) {
        let living = self.0.lock();
        if let Some(entry) = living.by_id.get(&id).filter(|entry| entry.secret == secret) {
            entry.signal.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.0.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels_and_numbers_are_not_shared() {
        let registry = Arc::new(Registry::default());
        let (one, two) = (registry.enter(), registry.enter());
        assert_ne!(one.id, two.id);
        registry.cancel(one.id, one.secret.wrapping_add(1));
        assert_eq!(*one.signal.borrow(), 0);
        registry.cancel(one.id, one.secret);
        assert_eq!((*one.signal.borrow(), *two.signal.borrow()), (1, 0));
    }
}
