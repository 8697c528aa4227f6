//! Who runs what the engine does by itself: threads in a server, one thread and no other in a
//! simulation.

use std::thread::JoinHandle;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Where tasks, loops and what blocks are run.
#[derive(Debug, Clone)]
pub enum Spawn {
    /// Tasks on this runtime; each loop and what blocks on a thread of its own.
    Threads(Handle),
    /// Everything on this runtime, which has one thread; what blocks is done on the spot.
    Inline(Handle),
}

/// A loop that was started; it ends by itself when what it takes from has gone.
#[derive(Debug)]
pub enum Looping {
    /// On a thread of its own.
    Thread(JoinHandle<()>),
    /// Beside the other tasks.
    Task,
}

impl Spawn {
    /// The runtime for tasks.
    pub fn handle(&self) -> &Handle {
        match self {
            Spawn::Threads(handle) | Spawn::Inline(handle) => handle,
        }
    }

    /// Starts a loop; on a thread of its own it may block.
    pub fn looping(
        &self,
        name: &str,
        stack_bytes: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Looping> {
        match self {
            Spawn::Threads(handle) => {
                let handle = handle.clone();
                let thread =
                    std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes);
                thread.spawn(move || handle.block_on(work)).map(Looping::Thread)
            }
            Spawn::Inline(handle) => {
                handle.spawn(work);
                Ok(Looping::Task)
            }
        }
    }

    /// Computes on a thread of its own for as long as it takes, so that what takes long holds up
    /// nobody else's tasks.
    pub fn computing(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self {
            Spawn::Threads(handle) => {
                let runtime = handle.clone();
                handle.spawn_blocking(move || runtime.block_on(work));
            }
            Spawn::Inline(handle) => {
                handle.spawn(work);
            }
        }
    }

    /// Does what blocks; None: it has panicked, or the runtime ends.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self {
            Spawn::Threads(handle) => handle.spawn_blocking(work).await.ok(),
            Spawn::Inline(_) => Some(work()),
        }
    }
}

/// Waits for work inside of a function that is not async, on one of the engine's threads.
///
/// A thread that is the only one of its runtime cannot wait and run tasks: there the work has a
/// thread and a runtime of its own for as long as it takes, while this one stands still.
pub fn wait<T: Send>(work: impl Future<Output = T> + Send) -> std::io::Result<T> {
    let handle = Handle::current();
    if handle.runtime_flavor() == RuntimeFlavor::MultiThread {
        return Ok(tokio::task::block_in_place(|| handle.block_on(work)));
    }
    std::thread::scope(|scope| {
        let runtime = || tokio::runtime::Builder::new_current_thread().build();
        let thread = std::thread::Builder::new().stack_size(crate::limits::PLANNING_STACK_BYTES);
        let waited =
            thread.spawn_scoped(scope, move || runtime().map(|runtime| runtime.block_on(work)))?;
        waited.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
