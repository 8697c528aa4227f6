//! One seed: an engine on one thread, what is done to it, and what goes wrong meanwhile.
//!
//! A run has several lives. Each begins with opening what is on the disk and ends with a crash (the
//! runtime is dropped with everything that is under way) or a clean stop. What was acknowledged in
//! one life must be there in the next; what was not is there whole or not at all, and is looked for
//! when the next begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tidemill::clock::{Clock, SimulatedClock};
use tidemill::error::{Error, SqlState};
use tidemill::exec::view::handle::Phase;
use tidemill::limits;
use tidemill::server::{Answer, Caller, Simulated};
use tidemill::store::faulty::{Fault, FaultyStore};
use tidemill::store::{MemoryStore, Space, Store};

use super::subscriber::{Seen, Subscriber};
use super::world::{Version, View, World};
use crate::oracle::case::{Random, Write};

/// What a statement or a transaction changes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub writes: Vec<(usize, Write)>,
    pub version: Option<Version>,
    /// As SQL; COPY with its data.
    pub statements: Vec<(String, Option<String>)>,
}

/// What a session was told of its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Done,
    Refused,
    Nothing,
}

/// What was under way when a life ended.
#[derive(Clone)]
pub enum Pending {
    Change(Change),
    Both(usize, Vec<(Write, Told)>),
    Create(View),
    Drop(Vec<String>),
    Pause(String, Vec<RecordBatch>),
    Resume(String),
}

/// Everything that outlives a life.
pub struct Run {
    pub random: Random,
    pub clock: SimulatedClock,
    pub world: World,
    /// The statements and faults so far, to be printed when it fails.
    pub script: Vec<String>,
    pub seen: BTreeMap<String, Seen>,
    pub pending: Vec<Pending>,
    pub steps: usize,
    pub rows_made: i64,
    pub event_time: i64,
    pub views_made: usize,
    /// Views that were there when a read failed: one may have failed with it.
    pub excused: BTreeSet<String>,
    /// So often an engine was opened again after a crash.
    pub crashes: usize,
    pub used: BTreeSet<&'static str>,
    /// After so many bytes of changes state is folded.
    fold_bytes: u64,
    disk: Arc<MemoryStore>,
}

/// How a life ended.
#[derive(Debug, PartialEq)]
pub enum End {
    Crashed,
    Stopped,
    Finished,
}

impl Run {
    pub fn new(seed: u64, steps: usize) -> Run {
        Run {
            random: Random(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0x7369_6d75),
            clock: SimulatedClock::new(1_700_000_000_000),
            world: World::new(),
            script: Vec::new(),
            seen: BTreeMap::new(),
            pending: Vec::new(),
            steps,
            rows_made: 0,
            event_time: 1_700_000_000_000_000,
            views_made: 0,
            excused: BTreeSet::new(),
            crashes: 0,
            used: BTreeSet::new(),
            fold_bytes: if seed.is_multiple_of(2) { 2 << 10 } else { limits::FOLD_BYTES },
            disk: Arc::new(MemoryStore::new()),
        }
    }

    /// Runs all lives.
    pub fn finish(&mut self) {
        loop {
            let runtime = self.clock.runtime().expect("a runtime");
            let end = runtime.block_on(Life::run(self));
            // Whatever is under way is gone, as in a process that was killed.
            drop(runtime);
            self.note(format!("-- {end:?}"));
            match end {
                End::Finished => return,
                End::Crashed => self.crashes += 1,
                End::Stopped => {}
            }
        }
    }

    pub fn note(&mut self, line: String) {
        self.script.push(line);
    }

    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}");
    }

    /// What is on the disk, as a number.
    pub fn disk_digest(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        for space in Space::ALL {
            for entry in self.disk.scan(space, &[], &[]).expect("memory") {
                entry.expect("memory").hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// A fault that strikes so many calls from now.
fn drawn_fault(random: &mut Random, store: &FaultyStore) -> Fault {
    let soon = random.range(1, 9) as u64;
    let (commit, read) = (store.commits() + soon, store.reads() + soon);
    match random.range(0, 10) {
        0 => Fault::FailCommit(commit),
        1 => Fault::FailRead(read),
        2 => Fault::FailScan(read),
        3 => Fault::CrashRead(read),
        4..=6 => Fault::CrashBefore(commit),
        _ => Fault::CrashAfter(commit),
    }
}

/// From opening to a crash or a stop.
pub struct Life<'a> {
    pub run: &'a mut Run,
    pub store: Arc<FaultyStore>,
    pub engine: Simulated,
    pub session: Caller,
    pub subscribers: BTreeMap<String, Subscriber>,
    /// What has struck since it was looked at.
    pub struck: Vec<Fault>,
}

impl Run {
    /// What could not be read may have been read for any view.
    fn has_struck(&mut self, struck: &[Fault]) {
        for fault in struck {
            self.note(format!("-- {fault:?} has struck"));
            if matches!(fault, Fault::FailRead(_) | Fault::FailScan(_)) {
                let names = self.world.views.iter().map(|view| view.name.clone());
                self.excused.extend(names);
            }
        }
    }
}

impl Life<'_> {
    async fn run(run: &mut Run) -> End {
        let store = Arc::new(FaultyStore::new(Arc::clone(&run.disk) as Arc<dyn Store>, []));
        if !run.script.is_empty() && run.random.one_in(4) {
            let fault = drawn_fault(&mut run.random, &store);
            run.note(format!("-- opened with {fault:?}"));
            store.arm(fault);
        }
        let store_of = Arc::clone(&store) as _;
        let opened = Simulated::open(&run.clock, store_of, ".".into(), run.fold_bytes).await;
        let engine = match opened {
            Ok(engine) => engine,
            Err(_) if store.crashed() => return End::Crashed,
            Err(error) if store.struck().is_empty() => {
                run.fail(&format!("it does not open: {error}"))
            }
            Err(_) => return End::Stopped,
        };
        let session = engine.client().await.expect("a session");
        let (subscribers, struck) = (BTreeMap::new(), Vec::new());
        let mut life = Life { run, store, engine, session, subscribers, struck };
        if life.begin().await.is_none() {
            life.look();
            return End::Crashed;
        }
        while life.run.steps > 0 {
            life.run.steps -= 1;
            let stop = life.step().await;
            life.look();
            if life.is_down() {
                return End::Crashed;
            }
            if stop {
                life.subscribers.clear();
                let Life { run, store, engine, .. } = life;
                engine.stop().await;
                run.has_struck(&store.struck());
                return End::Stopped;
            }
        }
        life.end().await
    }

    /// After opening: what was under way is looked for, subscribers go on.
    async fn begin(&mut self) -> Option<()> {
        if self.run.world.streams.is_empty() {
            self.define().await;
        }
        self.resolve_all().await?;
        for name in self.run.seen.keys().cloned().collect::<Vec<_>>() {
            self.subscribe(&name).await?;
        }
        if self.run.random.one_in(2) {
            self.check_all().await?;
        }
        Some(())
    }

    async fn end(&mut self) -> End {
        self.store.disarm();
        let checked = async {
            self.check_all().await?;
            for stream in 0..self.run.world.streams.len() {
                let change = self.advance(stream, i64::MAX);
                self.change(change).await?;
            }
            self.check_all().await
        };
        match checked.await {
            Some(()) => End::Finished,
            None => End::Crashed,
        }
    }

    /// Whether the process is gone.
    pub fn is_down(&self) -> bool {
        self.store.crashed()
    }

    /// Takes note of the faults that have struck; whether there were any.
    pub fn look(&mut self) -> bool {
        let struck = self.store.struck();
        self.run.has_struck(&struck);
        self.struck.extend(&struck);
        !struck.is_empty()
    }

    pub fn arm(&mut self) {
        let fault = drawn_fault(&mut self.run.random, &self.store);
        self.run.note(format!("-- {fault:?} will strike"));
        self.store.arm(fault);
    }

    pub async fn ask(&mut self, sql: &str) -> Result<Answer, Error> {
        self.asked(sql, None).await
    }

    async fn asked(&mut self, sql: &str, data: Option<&str>) -> Result<Answer, Error> {
        let shown = data.map_or_else(|| format!("{sql};"), |data| format!("{sql};\n{data}\\."));
        self.run.note(shown);
        self.look();
        self.struck.clear();
        let answer = match data {
            Some(data) => self.session.copy_in(sql, data.to_owned().into()).await,
            None => self.session.ask(sql).await,
        };
        self.look();
        if let Err(error) = &answer {
            self.run.note(format!("-- {} {error}", error.state().code()));
        }
        answer
    }

    /// A statement that must succeed unless a fault strikes. None: the process is gone.
    /// Some(false): it was refused.
    pub async fn must(&mut self, sql: &str, data: Option<&str>) -> Option<bool> {
        match self.asked(sql, data).await {
            Ok(_) => Some(true),
            Err(_) if self.is_down() => None,
            Err(_) if !self.struck.is_empty() => Some(false),
            Err(error) => {
                self.run.fail(&format!("a statement failed without a reason: {error}\n{sql}"))
            }
        }
    }

    /// Rows of a query, asked again when a fault strikes. None: the process is gone.
    pub async fn rows(&mut self, sql: &str) -> Option<Vec<Vec<Option<String>>>> {
        loop {
            match self.ask(sql).await {
                Ok(Answer::Rows { rows, .. }) => return Some(rows),
                Ok(other) => self.run.fail(&format!("{sql} gives {other:?}")),
                Err(_) if self.is_down() => return None,
                Err(_) if !self.struck.is_empty() => {}
                Err(error) => self.run.fail(&format!("{sql}: {error}")),
            }
        }
    }

    /// Makes a change, as a transaction if it has several statements. None: the process is gone.
    pub async fn change(&mut self, change: Change) -> Option<()> {
        let several = change.statements.len() > 1;
        let mut done = true;
        if several {
            done = self.must("BEGIN", None).await?;
        }
        for (sql, data) in change.statements.clone() {
            done = done && self.must_or_pending(&sql, data.as_deref(), &change, several).await?;
        }
        if several {
            let last = if done { "COMMIT" } else { "ROLLBACK" };
            done = self.must_or_pending(last, None, &change, false).await? && done;
        }
        if done {
            self.apply(change);
        }
        Some(())
    }

    /// In a block a statement alone commits nothing, so that only the last one can leave it open
    /// what was done.
    async fn must_or_pending(
        &mut self,
        sql: &str,
        data: Option<&str>,
        change: &Change,
        in_block: bool,
    ) -> Option<bool> {
        let done = self.must(sql, data).await;
        if done.is_none() && !in_block && sql != "ROLLBACK" {
            self.run.pending.push(Pending::Change(change.clone()));
        }
        done
    }

    pub fn apply(&mut self, change: Change) {
        for (stream, write) in change.writes {
            self.run.world.streams[stream].writes.push(write);
        }
        self.run.world.versions.extend(change.version);
    }

    pub async fn table(&mut self) -> Option<Version> {
        let rows = self.rows("SELECT k, name, f FROM d").await?;
        let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
        let row = |row: Vec<Option<String>>| {
            (text(&row[0]), (text(&row[1]), text(&row[2]).parse().expect("a number")))
        };
        Some(rows.into_iter().map(row).collect())
    }

    /// The ids of a stream's rows in the order of its log.
    pub async fn ids(&mut self, stream: usize) -> Option<Vec<String>> {
        let sql = format!("SELECT id FROM {}", self.run.world.streams[stream].name);
        Some(self.rows(&sql).await?.into_iter().filter_map(|mut row| row.remove(0)).collect())
    }

    pub fn phase(&self, name: &str) -> Option<Phase> {
        let views = self.engine.engine().answers();
        let (_, view) = views.into_iter().find(|(relation, _)| relation.name == name)?;
        let phase = view.phase().borrow().clone();
        Some(phase)
    }

    pub fn is_paused(&self, name: &str) -> bool {
        let names = self.engine.engine().catalog.names();
        let relation = names.find("public", name).expect("a view");
        relation.running().is_some_and(|def| def.paused)
    }

    pub async fn pass_time(&mut self, ms: u64) {
        self.run.note(format!("-- {ms} ms pass"));
        self.run.clock.sleep(Duration::from_millis(ms)).await;
    }

    pub fn names(&self) -> Vec<String> {
        self.run.world.views.iter().map(|view| view.name.clone()).collect()
    }

    /// Whether an error says that what was asked for is not built.
    pub fn is_refusal(error: &Error) -> bool {
        error.state() == SqlState::NotSupported
    }
}
