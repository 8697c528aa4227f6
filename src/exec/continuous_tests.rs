//! Continuous SELECTs as their clients have them, without a session.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::continuous::{ContinuousOptions, Emitted, run};
use super::tests::{Bench, is_kept, open_with};
use crate::catalog::{Emission, Relation};
use crate::error::{Result, SqlState};
use crate::state::Delta;
use crate::store::MemoryStore;

/// What a client has that has asked for it and takes it when it likes.
async fn select(bench: &Bench, query: &str) -> BoxStream<'static, Result<Emitted>> {
    let (pipeline, state) = bench.pipeline(query).await;
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
struct Counted {
    bench: Bench,
    stream: Arc<Relation>,
    view: Arc<Relation>,
}

impl Counted {
    async fn open() -> Counted {
        let few = |options: &mut super::EngineOptions| options.unread_bytes = UNREAD_BYTES;
        let bench = open_with(Arc::new(MemoryStore::new()), few).await;
        let stream = bench.stream().await;
        let query = "SELECT v, count(*) AS n FROM s GROUP BY v";
        let view = bench.view("low", query, Emission::OnChange).await;
        Counted { bench, stream, view }
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
    let counted = Counted::open().await;
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
    let counted = Counted::open().await;
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
