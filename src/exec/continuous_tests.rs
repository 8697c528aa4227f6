//! Continuous SELECTs as their clients have them, without a session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use super::continuous::{ContinuousOptions, Emitted, run};
use super::tests::{Bench, is_kept, open, open_with, sorted_rows};
use crate::catalog::{Emission, Relation};
use crate::error::{Result, SqlState};
use crate::plan::Pipeline;
use crate::state::Delta;
use crate::store::MemoryStore;
use crate::store::faulty::FaultyStore;

/// What a client has that has asked for it and takes it when it likes.
async fn select(bench: &Bench, query: &str) -> BoxStream<'static, Result<Emitted>> {
    let (pipeline, state) = bench.pipeline(query).await;
    started(bench, pipeline, state)
}

fn started(
    bench: &Bench,
    pipeline: Arc<Pipeline>,
    state: Arc<SessionState>,
) -> BoxStream<'static, Result<Emitted>> {
    let options = ContinuousOptions {
        sql: String::new(),
        from_latest: false,
        progress: false,
        history_at_once: false,
    };
    run(&bench.engine, Arc::unwrap_or_clone(pipeline), state, options)
}

/// The sum of the last column over what has come and not gone again.
fn total(emitted: &Emitted) -> i64 {
    let of = |delta: &Delta| -> i64 {
        let last = delta.batch.columns().last().unwrap().as_primitive::<Int64Type>();
        (0..delta.rows()).map(|row| delta.weight(row) * last.value(row)).sum()
    };
    emitted.deltas.iter().map(of).sum()
}

const KEYS: i64 = 30_000;

/// A few of the changes below.
const UNREAD_BYTES: usize = 3 << 20;

/// A stream and the number of its rows by key; each round changes all of them.
struct CountedStream {
    bench: Bench,
    stream: Arc<Relation>,
    view: Arc<Relation>,
}

impl CountedStream {
    async fn open() -> CountedStream {
        let few = |options: &mut super::EngineOptions| options.unread_bytes = UNREAD_BYTES;
        let bench = open_with(Arc::new(MemoryStore::new()), few).await;
        let stream = bench.stream().await;
        let query = "SELECT v, count(*) AS n FROM s GROUP BY v";
        let view = bench.view("low", query, Emission::OnChange).await;
        CountedStream { bench, stream, view }
    }

    async fn round(&self) {
        let rows: Vec<_> = (0..KEYS).map(|v| (None, v, 0)).collect();
        self.bench.insert(&self.stream, &rows).await;
        let view = self.bench.engine.view(self.view.id).unwrap();
        self.bench.engine.sync(&[view], self.bench.engine.journal.last()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuous_query_whose_client_takes_nothing_ends_and_nothing_is_kept_for_it() {
    let counted = CountedStream::open().await;
    counted.round().await;
    let mut given = select(&counted.bench, "SELECT v, n FROM low").await;
    assert_eq!(total(&given.next().await.unwrap().unwrap()), KEYS);
    let epoch = counted.bench.engine.view(counted.view.id).unwrap().version().epoch;
    let mut rounds = 1;
    while !counted.bench.engine.temporary_queries().is_empty() {
        assert!(rounds < 60, "it has been given {rounds} changes and taken none");
        counted.round().await;
        rounds += 1;
    }
    for _ in 0..8 {
        counted.round().await;
    }
    rounds += 8;
    assert!(!is_kept(&counted.bench, &counted.view, epoch), "nobody needs them any more");
    let rows = counted.bench.rows(&counted.view).await;
    assert_eq!((rows.len(), &rows[0]), (KEYS as usize, &format!("0 {rounds}")));
    // What it was given before that is there, and then why it is over.
    let mut last = None;
    while let Some(emitted) = given.next().await {
        last = emitted.err();
    }
    let error = last.unwrap();
    assert_eq!(error.state(), SqlState::LimitExceeded, "{error}");
    assert!(error.message().contains("the client has taken nothing for too long"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuous_query_whose_client_reads_slowly_is_only_slowed() {
    let counted = CountedStream::open().await;
    counted.round().await;
    let mut given = select(&counted.bench, "SELECT v, n FROM low").await;
    let mut sum = total(&given.next().await.unwrap().unwrap());
    // Behind by what waits for it, it takes one change for each that comes.
    let (behind, rounds) = (6, 30);
    for round in 0..rounds {
        counted.round().await;
        if round >= behind {
            sum += total(&given.next().await.unwrap().unwrap());
        }
    }
    while sum < KEYS * (1 + rounds) {
        sum += total(&given.next().await.unwrap().unwrap());
    }
    assert_eq!(sum, KEYS * (1 + rounds));
}

/// Does something when the first plan is made.
struct Meanwhile(Mutex<Option<BoxFuture<'static, ()>>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl PhysicalOptimizerRule for Meanwhile {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        if let Some(doing) = self.0.lock().take() {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(doing));
        }
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "meanwhile"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_change_that_commits_while_a_continuous_query_is_put_together_is_seen() {
    let bench = Arc::new(open(Arc::new(MemoryStore::new())).await);
    let (s, names) = (bench.stream().await, bench.table().await);
    bench.insert(&s, &[(Some("a"), 1, 1)]).await;
    let query = "SELECT s.v, n.title FROM s LEFT JOIN names n ON s.k = n.k";
    let (pipeline, state) = bench.pipeline(query).await;
    let other = Arc::clone(&bench);
    let change = async move { other.fill(&names, &[("a", "Anna")]).await };
    let state = SessionStateBuilder::new_from_existing(SessionState::clone(&state))
        .with_physical_optimizer_rule(Arc::new(Meanwhile(Mutex::new(Some(Box::pin(change))))))
        .build();
    let mut given = started(&bench, pipeline, Arc::new(state));
    let first = given.next().await.unwrap().unwrap();
    let rows: Vec<_> = first.deltas.into_iter().map(|delta| delta.batch).collect();
    assert_eq!(sorted_rows(&rows), ["1 Anna"], "acknowledged before the first row was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuous_query_gives_what_writers_commit_in_few_syncs_and_commits_nothing_itself() {
    const WRITERS: i64 = 8;
    const WRITES: i64 = 20;
    let store = FaultyStore::new(Arc::new(MemoryStore::new()), []);
    let store = Arc::new(store.slow(Duration::from_millis(3)));
    let bench = Arc::new(open(Arc::clone(&store) as _).await);
    let s = bench.stream().await;
    let (syncs, commits) = (store.commits(), bench.engine.journal.last().0);
    let mut given = select(&bench, "SELECT k, v FROM s").await;
    let writers = (0..WRITERS).map(|writer| {
        let (bench, s) = (Arc::clone(&bench), Arc::clone(&s));
        tokio::spawn(async move {
            for write in 0..WRITES {
                bench.insert(&s, &[(None, writer * WRITES + write, 0)]).await;
            }
        })
    });
    let (writers, all): (Vec<_>, i64) = (writers.collect(), WRITERS * WRITES);
    let (mut rows, mut sum) = (0, 0);
    while rows < all as usize {
        let emitted = given.next().await.unwrap().unwrap();
        rows += emitted.deltas.iter().map(Delta::rows).sum::<usize>();
        sum += total(&emitted);
    }
    futures::future::try_join_all(writers).await.unwrap();
    assert_eq!(sum, all * (all - 1) / 2);
    assert_eq!(bench.engine.journal.last().0 - commits, all as u64, "a commit for each write");
    let syncs = store.commits() - syncs;
    assert!(syncs < all as u64 * 2 / 3, "{syncs} syncs for {all} commits");
}
