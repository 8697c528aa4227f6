//! Open and stop: puts the engine together and starts what runs in it. The only file that knows all
//! others.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::env::Env;
use super::epoch_numbers::last_stored;
use super::epochs::Loop;
use super::messages::Command;
use super::planning::Planning;
use super::registry::{Engine, EngineOptions};
use super::rejected::RejectedRows;
use super::retention::keep_stored;
use super::socket_states::SocketStates;
use super::tables::table_spec;
use super::view::handle::ViewHandle;
use crate::catalog::{Catalog, Kind, Relation, SinkDef, ViewDef};
use crate::connect::takes_only;
use crate::error::Result;
use crate::limits;
use crate::log::Journal;
use crate::log::table::{TableHandle, TableId};
use crate::plan::Planner;

/// How often streams with a retention are looked at.
const RETENTION_ROUND: Duration = Duration::from_secs(1);

impl Engine {
    /// Opens what the store holds and starts the epoch loop.
    pub async fn open(env: Env, options: EngineOptions) -> Result<Arc<Engine>> {
        let Env { clock, store, spawn } = env;
        let catalog = Catalog::open(store.as_ref())?;
        let planner = Planner::new(options.threads, options.memory, Arc::clone(&clock))?;
        let journal = Journal::open_in(Arc::clone(&store), planner.accounts(), &spawn)?;
        super::salvage::check(store.as_ref(), &catalog, &journal, clock.now_ms()).await?;
        let rejected = RejectedRows::open(store.as_ref())?;
        let planning = Planning::of(&spawn, options.threads)?;
        let epoch = last_stored(store.as_ref(), &catalog)?;
        let (commands, inbox) = mpsc::channel(limits::COMMANDS);
        let engine = Arc::new(Engine {
            catalog,
            journal,
            planner,
            planning,
            options,
            rejected,
            sockets: SocketStates::default(),
            tables: RwLock::default(),
            sources: RwLock::default(),
            views: RwLock::default(),
            sinks: RwLock::default(),
            publishing_epoch: RwLock::default(),
            temporary: Mutex::default(),
            next_query: AtomicU64::new(1),
            epoch: AtomicU64::new(epoch),
            commands,
            clock,
            spawn,
            agreements: Mutex::default(),
            commit_times: Mutex::default(),
            moments: Arc::default(),
            closing: Arc::default(),
            lanes: Arc::new(Semaphore::new(limits::LONE_VIEWS)),
            ddl: Arc::default(),
        });
        let names = engine.catalog.names();
        let mut relations: Vec<_> = names.all().collect();
        // What a view reads was made before it.
        relations.sort_by_key(|relation| relation.id);
        relations.into_iter().try_for_each(|relation| engine.open_relation(relation))?;
        let epochs = Loop::new(Arc::clone(&engine), inbox).run();
        engine.spawn.looping("epochs", limits::PLANNING_STACK_BYTES, epochs)?;
        engine.start_retention();
        engine.start_clock_watermarks();
        Ok(engine)
    }

    /// Makes a relation of the catalog ready: its storage, its source, its view.
    fn open_relation(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<()> {
        match &relation.kind {
            Kind::Table(_) => {
                let (id, accounts) = (TableId(relation.id.0), self.planner.accounts());
                let handle = TableHandle::open(
                    self.store().as_ref(),
                    id,
                    table_spec(relation),
                    accounts,
                    &self.clock,
                )?;
                self.tables.write().insert(relation.id, handle);
            }
            Kind::Stream(stream) => {
                if let Some(connector) = &stream.connector
                    && !stream.connector_name().is_some_and(takes_only)
                {
                    match self.open_source(relation, &connector.options) {
                        Ok(source) => {
                            self.sources.write().insert(relation.id, source);
                        }
                        // The outside world may have changed since; the stream says so when it is
                        // read.
                        Err(error) => tracing::warn!("stream {}: {error}", relation.name),
                    }
                }
                if let Some(query) = &stream.query {
                    self.open_query(relation, query)?;
                }
            }
            Kind::View { .. } => {}
            Kind::MaterializedView(def) | Kind::Sink(SinkDef { query: def, .. }) => {
                self.open_query(relation, def)?;
            }
        }
        Ok(())
    }

    /// Lets a query run, if it does not run yet as that of another view.
    fn open_query(self: &Arc<Self>, relation: &Relation, def: &ViewDef) -> Result<()> {
        let query = relation.query_id();
        if self.views.read().contains_key(&query) {
            return Ok(());
        }
        let handle = ViewHandle::new(Arc::new(relation.as_query()))?;
        self.views.write().insert(query, Arc::clone(&handle));
        if relation.hands_on() {
            self.start_sink(relation, &handle);
        }
        if def.paused {
            self.start_paused(handle);
        } else {
            self.start_view(handle);
        }
        Ok(())
    }

    /// After a relation has been committed and published: makes it ready.
    pub fn opened(self: &Arc<Self>, relation: &Arc<Relation>) -> Result<()> {
        self.open_relation(relation)
    }

    /// Finishes the running epoch, stops the loop and the commits.
    pub async fn stop(&self) {
        let sinks: Vec<_> = self.sinks.read().keys().copied().collect();
        for sink in sinks {
            self.stop_sink(sink).await;
        }
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Stop(answer)).await.is_ok() {
            let _ = answered.await;
        }
        let journal = Arc::clone(&self.journal);
        // It joins the commit thread.
        let _ = self.spawn.blocking(move || journal.stop()).await;
    }

    fn start_retention(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let (clock, spawn) = (Arc::clone(&self.clock), self.spawn.clone());
        self.cpu().spawn(async move {
            loop {
                clock.sleep(RETENTION_ROUND).await;
                let Some(engine) = engine.upgrade() else { return };
                match spawn.blocking(move || keep_stored(&engine)).await {
                    Some(Ok(())) => {}
                    // The journal has stopped, or says so itself at the next write.
                    Some(Err(error)) => tracing::debug!("retention: {error}"),
                    None => return,
                }
            }
        });
    }
}
