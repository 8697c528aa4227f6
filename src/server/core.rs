//! The engine with what it stands on: a store, threads that compute, sessions over it.
//!
//! The server and `tidemill run` both are a core with something around it: sockets there, a printer
//! here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::script::{self, Failure, Output, Script};
use crate::error::{Error, Result};
use crate::exec::{Engine, EngineOptions, Env};
use crate::limits;
use crate::session::{EngineSessions, SessionFactory, StreamPosts, follow_sockets};
use crate::store::{DiskOptions, DiskStore, MemoryStore, Store};

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// On disk, in this directory.
    Directory(PathBuf),
    /// In memory, and gone afterwards.
    Memory,
}

/// How a core is opened.
#[derive(Debug, Clone)]
pub struct CoreOptions {
    /// Where the data is.
    pub data: Data,
    /// File connectors reach only below this directory.
    pub files: PathBuf,
    /// Bytes that queries may use.
    pub memory: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Continuous queries end where their input ends.
    pub bounded: bool,
    /// Go on without what a damaged data directory has lost.
    pub accept_loss: bool,
    /// Files that the store may keep open.
    pub store_files: usize,
}

/// A running engine.
pub struct Core {
    cpu: Runtime,
    engine: Arc<Engine>,
    sessions: Arc<dyn SessionFactory>,
}

impl Core {
    /// Opens the store, recovers what is in it, and starts the engine.
    pub fn open(options: &CoreOptions) -> Result<Core> {
        let cpu = runtime("cpu", options.threads)?;
        let store: Arc<dyn Store> = match &options.data {
            Data::Directory(dir) => {
                let how = DiskOptions {
                    accept_loss: options.accept_loss,
                    open_files: options.store_files,
                    ..DiskOptions::default()
                };
                Arc::new(DiskStore::open_with(dir, how)?)
            }
            Data::Memory => Arc::new(MemoryStore::new()),
        };
        let engine_options = EngineOptions {
            files: options.files.clone(),
            memory: options.memory,
            threads: options.threads,
            bounded: options.bounded,
            common_epoch: Duration::from_millis(limits::COMMON_EPOCH_MS),
            fold_bytes: limits::FOLD_BYTES,
            unread_bytes: limits::UNREAD_BYTES,
        };
        let env = Env::of_server(store, cpu.handle().clone());
        // On a thread of the runtime, which has the stack that planning needs.
        let opened = cpu.block_on(cpu.spawn(Engine::open(env, engine_options)));
        let engine = opened
            .map_err(|error| Error::internal(format!("the engine did not start: {error}")))??;
        let sessions = sessions(&engine);
        follow_sockets(&engine);
        Ok(Core { cpu, engine, sessions })
    }

    /// Opens sessions.
    pub fn sessions(&self) -> Arc<dyn SessionFactory> {
        Arc::clone(&self.sessions)
    }

    /// Takes posts for the streams.
    pub fn posts(&self) -> Arc<StreamPosts> {
        Arc::new(StreamPosts::new(Arc::clone(&self.engine)))
    }

    /// Runs a script in a session of its own, to its end or its first error.
    pub fn run(&self, script: Script, output: Box<dyn Output>) -> Result<(), Failure> {
        let sessions = self.sessions();
        let name = script.name.clone();
        let done = self.cpu.block_on(self.cpu.spawn(script::run(sessions, script, output)));
        done.unwrap_or_else(|error| {
            Err(Failure::whole(name, Error::internal(format!("the script broke off: {error}"))))
        })
    }

    /// Waits until what scripts have made sinks for has gone there.
    pub fn finish(&self) -> Result<(), Failure> {
        let engine = Arc::clone(&self.engine);
        let done = self.cpu.block_on(self.cpu.spawn(async move { engine.finish_sinks().await }));
        let broken = |error| Error::internal(format!("the sinks broke off: {error}"));
        Ok(done.map_err(broken)??)
    }

    /// Finishes the running epoch and ends, in this time at the latest.
    pub fn stop(self, within: Duration) {
        let engine = self.engine;
        let stopped = self.cpu.block_on(
            self.cpu.spawn(async move { tokio::time::timeout(within, engine.stop()).await }),
        );
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!(
                "the running epoch did not end in time; it will run again at the next start"
            );
        }
        self.cpu.shutdown_timeout(Duration::from_secs(1));
    }
}

/// Threads with deep stacks: plans are trees, and even dropping one recurses.
///
/// What comes from outside (a statement, a client's answer) waits in the runtime's global queue. A
/// worker that is busy with a long query looks there only once in some sixty turns, and a turn of a
/// cross join is tens of milliseconds: all others would wait for seconds. So it looks there each
/// time.
pub(super) fn runtime(name: &str, threads: usize) -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .thread_stack_size(limits::PLANNING_STACK_BYTES)
        .global_queue_interval(1)
        .enable_all()
        .build();
    runtime.map_err(|error| Error::from(error).context(format!("cannot start the {name} threads")))
}

/// Sessions over the engine.
pub(super) fn sessions(engine: &Arc<Engine>) -> Arc<dyn SessionFactory> {
    Arc::new(EngineSessions::new(Arc::clone(engine)))
}
