//! What an engine stands on, given from outside: a clock, a store, and who runs what it does by
//! itself.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::{Clock, WallClock};
use crate::spawn::Spawn;
use crate::store::Store;

/// The world around an engine.
#[derive(Clone)]
pub struct Env {
    /// What tells it the time, and by what it waits.
    pub clock: Arc<dyn Clock>,
    /// Where its bytes are.
    pub store: Arc<dyn Store>,
    /// Where its tasks and loops run.
    pub spawn: Spawn,
}

impl Env {
    /// As in a server: the wall clock, threads, and this runtime for computing.
    pub fn of_server(store: Arc<dyn Store>, cpu: Handle) -> Env {
        Env { clock: Arc::new(WallClock), store, spawn: Spawn::Threads(cpu) }
    }
}
