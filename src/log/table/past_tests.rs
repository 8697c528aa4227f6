//! A table as of each time is what it was then, whatever has been merged, compacted, written anew and
//! read back since.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::tests::{Model, T, commit, find, lock, rows, spec};
use super::*;
use crate::clock::WallClock;
use crate::log::Journal;
use crate::store::codec::ValueWriter;
use crate::store::{MemoryStore, WriteBatch};

/// A clock that is moved by hand.
#[derive(Debug, Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        WallClock.sleep(time)
    }
}

/// A table, its store, and what it was at each time.
struct Kept {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    hand: Arc<HandClock>,
    table: Arc<TableHandle>,
    history_ms: Option<i64>,
    was: Vec<(i64, Model)>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Rows with these keys come, or take the place of those that are there.
    Put(i64, i64),
    Delete(i64, i64),
    Truncate,
    /// Written anew.
    Image,
    Reopen,
    /// Nothing is written for so long.
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..40i64, 1..20i64).prop_map(|(from, count)| Step::Put(from, count)),
        3 => (0..40i64, 1..20i64).prop_map(|(from, count)| Step::Delete(from, count)),
        1 => Just(Step::Truncate),
        1 => Just(Step::Image),
        1 => Just(Step::Reopen),
        1 => (0..50i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

impl Kept {
    fn new(history_ms: Option<i64>) -> Kept {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let journal = Journal::open(Arc::clone(&store)).unwrap();
        let hand = Arc::new(HandClock(AtomicI64::new(1_000)));
        let clock: Arc<dyn Clock> = Arc::clone(&hand) as Arc<dyn Clock>;
        let spec = TableSpec { history_ms, ..spec() };
        let table =
            TableHandle::open(&*store, T, spec, &Accounts::new(usize::MAX), &clock).unwrap();
        Kept { store, journal, clock, hand, table, history_ms, was: vec![(0, Model::new())] }
    }

    fn passes(&self, ms: i64) -> i64 {
        self.hand.0.fetch_add(ms, Ordering::Relaxed) + ms
    }

    fn change(&mut self, change: impl FnOnce(&mut TableWriter, &mut Model)) {
        let at = self.passes(1);
        let mut model = self.was.last().unwrap().1.clone();
        let mut writer = lock(&self.table);
        change(&mut writer, &mut model);
        commit(&self.journal, writer).unwrap();
        self.was.push((at, model));
    }

    fn step(&mut self, round: usize, step: Step) {
        match step {
            Step::Put(from, count) => self.change(|writer, model| {
                let there: Vec<RowId> = find(writer, from, count);
                let text = format!("{round:02000}");
                writer.delete(&there).unwrap();
                writer.append(rows(from, count, &text)).unwrap();
                model.extend((from..from + count).map(|key| (key, text.clone())));
            }),
            Step::Delete(from, count) => self.change(|writer, model| {
                let there: Vec<RowId> = find(writer, from, count);
                writer.delete(&there).unwrap();
                model.retain(|key, _| !(from..from + count).contains(key));
            }),
            Step::Truncate => self.change(|writer, model| {
                writer.truncate();
                model.clear();
            }),
            // Which it is if it is large and has changed enough.
            Step::Image => _ = self.table.write_image(&self.journal).unwrap(),
            Step::Reopen => {
                self.reopen();
                self.is_what_it_was(0);
            }
            Step::Pass(ms) => _ = self.passes(ms),
        }
    }

    fn reopen(&mut self) {
        let spec = TableSpec { history_ms: self.history_ms, ..spec() };
        let accounts = Accounts::new(usize::MAX);
        self.table = TableHandle::open(&*self.store, T, spec, &accounts, &self.clock).unwrap();
    }

    /// At each time that is not before this one, milliseconds since 1970.
    fn is_what_it_was(&self, from: i64) {
        let version = self.table.version();
        for (place, (at, model)) in self.was.iter().enumerate() {
            let end = self.was.get(place + 1).map_or(i64::MAX, |(next, _)| *next * 1_000);
            for time in [*at * 1_000 + 1, end - 1].into_iter().filter(|time| *time >= from * 1_000)
            {
                assert_eq!(&as_of(&version, time), model, "as of {time}");
            }
        }
    }
}

fn as_of(version: &TableVersion, at: i64) -> Model {
    let mut model = Model::new();
    for part in (0..version.version_parts()).filter_map(|at| version.version_part(at).unwrap()) {
        let numbers = |column: usize| part.column(column).as_primitive::<Int64Type>().clone();
        let (keys, since, until) = (numbers(0), numbers(2), numbers(3));
        for row in 0..RecordBatch::num_rows(&part) {
            if since.value(row) <= at && at < until.value(row) {
                let text = part.column(1).as_string::<i32>().value(row).to_owned();
                assert!(model.insert(keys.value(row), text).is_none(), "a key twice as of {at}");
            }
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_as_of_a_time_is_what_it_was_then(steps in steps(), is_large: bool) {
        let mut kept = Kept::new(None);
        for (round, step) in steps.into_iter().enumerate() {
            if is_large {
                kept.table.whole_bytes.store(0, Ordering::Relaxed);
            }
            kept.step(round, step);
        }
        kept.is_what_it_was(0);
        kept.reopen();
        kept.is_what_it_was(0);
    }
}

#[test]
fn rows_that_are_no_more_are_kept_as_long_as_the_table_says() {
    let mut kept = Kept::new(Some(100));
    for round in 0..50 {
        kept.step(round, Step::Put(0, 10));
        kept.passes(9);
    }
    kept.is_what_it_was(1_000 + 500 - 100);
    let rows: usize = kept.table.version().past.iter().map(|rows| rows.since.len()).sum();
    assert!(rows < 400, "{rows} of 490 rows");
    let mut none = Kept::new(Some(0));
    for round in 0..50 {
        none.step(round, Step::Put(0, 10));
    }
    assert!(none.table.version().past.is_empty());
}

#[test]
fn without_a_word_of_it_no_more_are_kept_than_there_is_room_for() {
    let mut kept = Kept::new(None);
    let text = "x".repeat(100_000);
    for _ in 0..30 {
        kept.change(|writer, _| {
            let there: Vec<RowId> = find(writer, 0, 10);
            writer.delete(&there).unwrap();
            writer.append(rows(0, 10, &text)).unwrap();
        });
    }
    let bytes: usize = kept.table.version().past.iter().map(past::PastRows::bytes).sum();
    assert!((1 << 20..=limits::TABLE_HISTORY_BYTES).contains(&bytes), "{bytes} bytes");
}

/// A record as it was before rows had times.
fn without_times(is_base: bool, deleted: &[RowId], added: &[RecordBatch]) -> Bytes {
    let mut out = ValueWriter::new(1);
    out.varint(u64::from(is_base));
    out.varint(0);
    out.varint(0);
    out.varint(deleted.len() as u64);
    deleted.iter().for_each(|id| out.varint(id.0));
    out.varint(added.len() as u64);
    added.iter().for_each(|batch| out.batch(batch).unwrap());
    out.finish()
}

#[test]
fn what_was_stored_before_rows_had_times_has_always_been_there() {
    let mut kept = Kept::new(None);
    let mut batch = WriteBatch::default();
    let first = without_times(true, &[], &[rows(0, 3, "a")]);
    batch.put(Space::Tables, key(T, CommitNo(1)), first);
    let second = without_times(false, &[RowId::new(0, 1)], &[rows(5, 1, "b")]);
    batch.put(Space::Tables, key(T, CommitNo(2)), second);
    kept.store.commit(batch).unwrap();
    kept.reopen();
    let model: Model =
        [(0, "a"), (2, "a"), (5, "b")].map(|(key, text)| (key, text.to_owned())).into();
    assert_eq!(as_of(&kept.table.version(), 0), model);
}
