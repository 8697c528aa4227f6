//! A table against a naive model, through commits, rollbacks, savepoints, failures and reopening.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::clock::WallClock;
use crate::log::Journal;
use crate::log::Transaction;
use crate::store::MemoryStore;
use crate::store::faulty::{Fault, FaultyStore};

pub(super) const T: TableId = TableId(3);

pub(super) fn spec() -> TableSpec {
    let fields =
        vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Utf8, true)];
    TableSpec {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(fields)),
        keys: vec![UniqueKey { constraint: "t_pkey".to_owned(), columns: vec![0] }],
        history_ms: None,
    }
}

pub(super) fn rows(from: i64, count: i64, text: &str) -> RecordBatch {
    let ids = Int64Array::from_iter_values(from..from + count);
    let texts = StringArray::from_iter_values((0..count).map(|_| text));
    RecordBatch::try_new(spec().schema, vec![Arc::new(ids), Arc::new(texts)]).unwrap()
}

pub(super) type Model = BTreeMap<i64, String>;

fn contents(version: &TableVersion) -> Model {
    let mut model = Model::new();
    for batch in version.batches().unwrap() {
        let (ids, texts) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            assert!(
                model.insert(ids.value(row), texts.value(row).to_owned()).is_none(),
                "a key twice"
            );
        }
    }
    assert_eq!(model.len(), version.rows());
    model
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(WallClock)
}

fn open(store: &dyn Store) -> Result<Arc<TableHandle>> {
    TableHandle::open(store, T, spec(), &Accounts::new(usize::MAX), &clock())
}

/// Without rows that are no more, of which a base would have to be larger.
fn without_past(store: &dyn Store) -> Result<Arc<TableHandle>> {
    let spec = TableSpec { history_ms: Some(0), ..spec() };
    TableHandle::open(store, T, spec, &Accounts::new(usize::MAX), &clock())
}

pub(super) fn lock(table: &Arc<TableHandle>) -> TableWriter {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(table.lock(&WallClock, Duration::from_millis(50))).unwrap()
}

pub(super) fn find(writer: &TableWriter, from: i64, count: i64) -> Vec<RowId> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    writer.find(0, &[ids]).unwrap().into_iter().flatten().collect()
}

#[derive(Debug, Clone)]
enum Op {
    Insert(i64, i64),
    Delete(i64, i64),
    Truncate,
    Savepoint,
    RollbackTo,
    Commit,
    Rollback,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0i64..60, 1i64..6).prop_map(|(from, count)| Op::Insert(from, count)),
        4 => (0i64..60, 1i64..20).prop_map(|(from, count)| Op::Delete(from, count)),
        1 => Just(Op::Truncate),
        1 => Just(Op::Savepoint),
        1 => Just(Op::RollbackTo),
        5 => Just(Op::Commit),
        1 => Just(Op::Rollback),
        1 => Just(Op::Reopen),
    ]
}

pub(super) fn commit(journal: &Journal, writer: TableWriter) -> Result<CommitNo> {
    let mut transaction = Transaction::default();
    writer.into_transaction(&mut transaction)?;
    journal.commit_blocking(transaction)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_table_is_what_a_naive_model_says(ops in prop::collection::vec(op(), 1..80), wide in any::<bool>()) {
        // Wide rows make bases come soon.
        let text = if wide { "x".repeat(40_000) } else { "x".to_owned() };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let journal = Journal::open(Arc::clone(&store)).unwrap();
        let mut table = open(&*store).unwrap();
        let mut writer = lock(&table);
        let (mut published, mut model) = (Model::new(), Model::new());
        let mut mark = None;
        for (at, op) in ops.into_iter().enumerate() {
            let text = format!("{at}{text}");
            match op {
                Op::Insert(from, count) => {
                    let clash = (from..from + count).any(|id| model.contains_key(&id));
                    prop_assert_eq!(writer.append(rows(from, count, &text)).is_err(), clash);
                    if !clash {
                        model.extend((from..from + count).map(|id| (id, text.clone())));
                    }
                }
                Op::Delete(from, count) => {
                    let ids = find(&writer, from, count);
                    let wanted = (from..from + count).filter(|id| model.remove(id).is_some()).count();
                    prop_assert_eq!(writer.delete(&ids).unwrap(), wanted);
                }
                Op::Truncate => {
                    prop_assert_eq!(writer.truncate(), model.len());
                    model.clear();
                }
                Op::Savepoint => mark = Some((writer.savepoint(), model.clone())),
                Op::RollbackTo => if let Some((mark, old)) = &mark {
                    writer.rollback_to(mark);
                    model = old.clone();
                },
                Op::Commit => {
                    commit(&journal, writer).unwrap();
                    writer = lock(&table);
                    published = model.clone();
                    mark = None;
                }
                Op::Rollback => {
                    writer.rollback();
                    writer = lock(&table);
                    model = published.clone();
                    mark = None;
                }
                Op::Reopen => {
                    drop(writer);
                    table = open(&*store).unwrap();
                    writer = lock(&table);
                    model = published.clone();
                    mark = None;
                }
            }
            prop_assert_eq!(&contents(&writer.scan()), &model);
            prop_assert_eq!(&contents(&table.version()), &published, "readers see what is committed");
            prop_assert_eq!(find(&writer, 0, 80).len(), model.len());
        }
    }
}

#[test]
fn a_duplicate_key_is_named() {
    let table = open(&MemoryStore::new()).unwrap();
    let mut writer = lock(&table);
    writer.append(rows(1, 2, "a")).unwrap();
    let error = writer.append(rows(2, 2, "b")).unwrap_err();
    assert_eq!(error.state(), SqlState::Unique);
    assert_eq!(error.message(), "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail_text(), Some("Key (id)=(2) already exists."));
}

#[test]
fn a_second_writer_waits_and_then_gives_up() {
    let table = open(&MemoryStore::new()).unwrap();
    let _writer = lock(&table);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(table.lock(&WallClock, Duration::from_millis(5))).err().unwrap();
    assert_eq!(error.state(), SqlState::LockNotAvailable);
}

#[test]
fn a_commit_that_fails_is_taken_back() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()), [Fault::FailCommit(2)]);
    let store: Arc<dyn Store> = Arc::new(store);
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let table = open(&*store).unwrap();
    let mut writer = lock(&table);
    writer.append(rows(0, 3, "a")).unwrap();
    commit(&journal, writer).unwrap();
    let mut writer = lock(&table);
    writer.append(rows(5, 3, &"b".repeat(200_000))).unwrap();
    assert!(commit(&journal, writer).is_err());
    let writer = lock(&table);
    assert_eq!((contents(&writer.scan()).len(), find(&writer, 0, 10).len()), (3, 3));
}

#[test]
fn a_table_written_row_by_row_has_few_chunks_and_few_records() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let table = open(&*store).unwrap();
    for n in 0..1000 {
        let mut writer = lock(&table);
        writer.append(rows(n, 1, "v")).unwrap();
        commit(&journal, writer).unwrap();
    }
    assert!(table.version().chunks.len() < 20, "{}", table.version().chunks.len());
    let again = open(&*store).unwrap();
    assert_eq!(contents(&again.version()), contents(&table.version()));
    assert_eq!(again.version().commit, journal.last());
}

#[test]
fn a_dropped_table_leaves_nothing_in_the_store() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let table = open(&*store).unwrap();
    let mut writer = lock(&table);
    writer.append(rows(0, 3, "a")).unwrap();
    commit(&journal, writer).unwrap();
    let mut transaction = Transaction::default();
    lock(&table).drop_table(Arc::clone(&store), &mut transaction);
    journal.commit_blocking(transaction).unwrap();
    assert_eq!(store.keys(Space::Tables, &[], &[]).unwrap().count(), 0);
}

/// Commits rows 0 to 99 ten times over, each time with another text.
fn churn(journal: &Journal, table: &Arc<TableHandle>, rounds: std::ops::Range<i64>) {
    for round in rounds {
        for from in (0..100).step_by(10) {
            let mut writer = lock(table);
            let ids = find(&writer, from, 10);
            writer.delete(&ids).unwrap();
            writer.append(rows(from, 10, &format!("{round} {}", "x".repeat(400)))).unwrap();
            commit(journal, writer).unwrap();
        }
    }
}

#[test]
fn a_large_table_is_written_anew_in_parts_and_is_the_same_after_a_crash_at_any_commit() {
    let writes = |store: Arc<dyn Store>| -> Result<(Model, usize, usize)> {
        let journal = Journal::open(Arc::clone(&store))?;
        let table = without_past(&*store)?;
        // Now and then from the start, since this table counts as large.
        table.whole_bytes.store(0, std::sync::atomic::Ordering::Relaxed);
        churn(&journal, &table, 0..20);
        let before = store.keys(Space::Tables, &[], &[])?.count();
        let writer = lock(&table);
        assert!(!table.write_image(&journal)?, "a transaction holds the table");
        drop(writer);
        table.write_image(&journal)?;
        churn(&journal, &table, 20..22);
        Ok((contents(&table.version()), before, store.keys(Space::Tables, &[], &[])?.count()))
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (model, before, after) = writes(Arc::clone(&store)).unwrap();
    assert_eq!((before, model.len()), (200, 100));
    assert!(after < 40, "{after} records");
    assert_eq!(contents(&without_past(&*store).unwrap().version()), model);
    // The commits in which the parts are written and the records go.
    for n in 200..206 {
        for fault in [Fault::CrashBefore(n), Fault::CrashAfter(n)] {
            let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), [fault]));
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                writes(faulty.clone() as _)
            }));
            let store = faulty.inner();
            let journal = Journal::open(Arc::clone(&store)).unwrap();
            let table = without_past(&*store).unwrap();
            let found = contents(&table.version());
            assert_eq!(found.len(), 100, "{fault:?}");
            // What was not finished is taken away by the next one.
            table.whole_bytes.store(0, std::sync::atomic::Ordering::Relaxed);
            churn(&journal, &table, 30..50);
            table.write_image(&journal).unwrap();
            let again = without_past(&*store).unwrap();
            assert_eq!(contents(&again.version()), contents(&table.version()), "{fault:?}");
            let left = store.keys(Space::Tables, &[], &[]).unwrap().count();
            assert!(left < 20, "{fault:?}: {left} records");
        }
    }
}

#[test]
fn a_dropped_table_leaves_nothing_of_an_image_either() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let table = open(&*store).unwrap();
    table.whole_bytes.store(0, std::sync::atomic::Ordering::Relaxed);
    churn(&journal, &table, 0..20);
    table.write_parts(&journal, &table.version()).unwrap();
    assert!(store.keys(Space::Tables, &[], &[]).unwrap().count() > 200);
    let writer = lock(&table);
    let mut transaction = Transaction::default();
    writer.drop_table(Arc::clone(&store), &mut transaction);
    journal.commit_blocking(transaction).unwrap();
    table.write_image(&journal).unwrap();
    assert_eq!(store.keys(Space::Tables, &[], &[]).unwrap().count(), 0);
}

#[test]
fn rows_are_counted_under_the_memory_limit_and_what_does_not_fit_is_refused() {
    let accounts = Accounts::new(1 << 20);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let table = TableHandle::open(&*store, T, spec(), &accounts, &clock()).unwrap();
    let mut writer = lock(&table);
    writer.append(rows(0, 100, &"x".repeat(2_000))).unwrap();
    assert!(accounts.part(MemoryPart::Writes) > 200_000);
    let mark = writer.savepoint();
    let error = writer.append(rows(1000, 1000, &"x".repeat(2_000))).unwrap_err();
    assert_eq!(error.state(), SqlState::OutOfMemory);
    writer.append(rows(2000, 100, &"x".repeat(2_000))).unwrap();
    writer.rollback_to(&mark);
    commit(&journal, writer).unwrap();
    assert_eq!(accounts.part(MemoryPart::Writes), 0);
    let held = accounts.part(MemoryPart::Tables);
    assert!((200_000..300_000).contains(&held), "{held}");
    drop(table);
    let table = TableHandle::open(&*store, T, spec(), &accounts, &clock()).unwrap();
    assert_eq!(table.version().rows(), 100);
    assert!((200_000..300_000).contains(&table.bytes()), "{} after a start", table.bytes());
}
