//! The log as a whole: what concurrent committers wrote is what any reader reads, whatever happens
//! in between.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::Accounts;
use crate::store::faulty::Fault;
use crate::store::{DiskStore, FaultyStore, MemoryStore, Space, Store};
use crate::time::EventTime;

pub(super) const S: StreamId = StreamId(7);

pub(super) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("ts", time, true),
    ]))
}

pub(super) fn spec() -> StreamSpec {
    StreamSpec {
        schema: schema(),
        watermark: Some((1, 10)),
        retention_ms: None,
        retention_bytes: None,
    }
}

pub(super) fn rows(values: &[i64]) -> RecordBatch {
    let times: Vec<Option<i64>> =
        values.iter().map(|n| (n % 7 != 0).then_some(n * 3 % 1000)).collect();
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(Int64Array::from(values.to_vec())),
        Arc::new(TimestampMicrosecondArray::from(times)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(super) fn create(journal: &Journal) {
    let mut transaction = Transaction::default();
    transaction.create_stream(S, spec());
    journal.commit_blocking(transaction).unwrap();
}

pub(super) fn insert(journal: &Journal, values: &[i64]) -> Result<CommitNo> {
    let mut transaction = Transaction::at(1000);
    transaction.append(S, rows(values));
    journal.commit_blocking(transaction)
}

/// A write as it must be read, however it was cut: commit, rows, watermark before, after.
pub(super) type Seen = Vec<(u64, Vec<i64>, i64, i64)>;

pub(super) fn take(blocks: &[LogBlock], seen: &mut Seen) {
    for block in blocks {
        let n = block.batch.column(0).as_primitive::<Int64Type>();
        for (write, range) in block.rows_of_writes() {
            let (before, after) = (write.watermark_before.0, write.watermark_after.0);
            let values = &n.values()[range];
            match seen.last_mut() {
                Some(last) if last.0 == write.commit.0 => {
                    assert_eq!(last.3, last.2, "a part that is not the last moves the watermark");
                    last.1.extend(values);
                    last.3 = after;
                }
                _ => seen.push((write.commit.0, values.to_vec(), before, after)),
            }
        }
    }
}

pub(super) fn read_all(journal: &Journal, from: Position, portion: usize) -> Seen {
    let mut reader = journal.reader(S, from).unwrap();
    let mut seen = Seen::new();
    let last = journal.last();
    loop {
        let blocks = reader.read(last, portion).unwrap();
        if blocks.is_empty() {
            return seen;
        }
        assert!(blocks.iter().map(|b| b.batch.num_rows()).sum::<usize>() <= portion);
        take(&blocks, &mut seen);
    }
}

/// What the writes must have done to the watermark.
pub(super) fn check_watermarks(seen: &Seen, advances: bool) {
    let mut watermark = crate::time::Watermark::NONE;
    for (_, values, before, after) in seen {
        assert_eq!(*before, watermark.0);
        for n in values.iter().filter(|n| *n % 7 != 0) {
            watermark = watermark.after(EventTime(n * 3 % 1000), 10);
        }
        if advances && values.is_empty() {
            watermark = crate::time::Watermark(*after);
        } else {
            assert_eq!(*after, watermark.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn concurrent_writes_are_read_back_in_any_portions_also_after_reopening(
        writers in prop::collection::vec(prop::collection::vec(0usize..60, 1..12), 1..5),
        portion in 1usize..200,
        big in prop::option::of(5000usize..20000),
    ) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let journal = Journal::open(Arc::clone(&store)).unwrap();
        create(&journal);
        std::thread::scope(|scope| {
            for (w, writes) in writers.iter().enumerate() {
                let journal = &journal;
                scope.spawn(move || for (k, count) in writes.iter().enumerate() {
                    let base = (w * 100_000 + k * 1000) as i64;
                    match count {
                        0 => {
                            let mut transaction = Transaction::default();
                            transaction.advance(S, crate::time::Watermark(base % 900));
                            journal.commit_blocking(transaction).unwrap();
                        }
                        n => { insert(journal, &(base..base + *n as i64).collect::<Vec<_>>()).unwrap(); }
                    }
                });
            }
        });
        if let Some(big) = big {
            insert(&journal, &(0..big as i64).collect::<Vec<_>>()).unwrap();
        }
        let whole = read_all(&journal, Position::Earliest, usize::MAX);
        check_watermarks(&whole, true);
        let mut got: Vec<usize> = whole.iter().map(|w| w.1.len()).collect();
        let mut sent: Vec<usize> = writers.concat();
        sent.extend(big);
        got.sort_unstable();
        sent.sort_unstable();
        prop_assert_eq!(got, sent);
        prop_assert_eq!(&read_all(&journal, Position::Earliest, portion), &whole);
        let stats = journal.stats(S).unwrap();
        let last = journal.last();
        drop(journal);

        let journal = Journal::open(store).unwrap();
        prop_assert_eq!(journal.stats(S).unwrap(), stats);
        prop_assert_eq!(journal.last(), last);
        prop_assert_eq!(&read_all(&journal, Position::Earliest, portion), &whole);
        for (at, write) in whole.iter().enumerate() {
            let rest = read_all(&journal, Position::After(CommitNo(write.0)), portion.max(40));
            prop_assert_eq!(&rest[..], &whole[at + 1..], "after {}", write.0);
        }
    }
}

#[test]
fn nothing_later_than_asked_for_is_read_and_reading_goes_on_exactly_there() {
    let journal = Journal::open(Arc::new(MemoryStore::new())).unwrap();
    create(&journal);
    let commits: Vec<_> = (1..50).map(|n| insert(&journal, &[n, n + 100]).unwrap()).collect();
    let mut reader = journal.reader(S, Position::Earliest).unwrap();
    let mut seen = Seen::new();
    for upto in commits.iter().step_by(3) {
        take(&reader.read(*upto, usize::MAX).unwrap(), &mut seen);
        assert_eq!(seen.last().unwrap().0, upto.0);
        assert_eq!(reader.position(), 2 * seen.len() as u64);
    }
    let offset = read_all(&journal, Position::Offset(31), 1000);
    assert_eq!(offset[0].1, [116], "the second row of its write");
    assert!(
        journal
            .reader(S, Position::Latest)
            .unwrap()
            .read(CommitNo(u64::MAX), 10)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn many_small_writes_are_joined_for_the_reader() {
    let journal = Journal::open(Arc::new(MemoryStore::new())).unwrap();
    create(&journal);
    (1..500).for_each(|n| assert!(insert(&journal, &[n]).is_ok()));
    let blocks =
        journal.reader(S, Position::Earliest).unwrap().read(journal.last(), usize::MAX).unwrap();
    assert_eq!((blocks.len(), blocks[0].writes.len()), (1, 499));
}

#[test]
fn writers_that_wait_at_the_same_time_share_a_sync() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()), []).slow(Duration::from_millis(3));
    let store = Arc::new(store);
    let journal = Journal::open(store.clone() as Arc<dyn Store>).unwrap();
    create(&journal);
    std::thread::scope(|scope| {
        for w in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                (0..20).for_each(|n| assert!(insert(journal, &[w * 100 + n]).is_ok()))
            });
        }
    });
    assert_eq!(journal.last(), CommitNo(161));
    assert!(store.commits() < 100, "{} syncs for 161 commits", store.commits());
}

#[test]
fn a_rejected_transaction_leaves_nothing_and_does_not_hurt_its_neighbours() {
    let journal = Journal::open(Arc::new(MemoryStore::new())).unwrap();
    create(&journal);
    let mut bad = Transaction::default();
    bad.append(S, rows(&[1]));
    bad.with_commit(|_, _| Err(crate::error::Error::new(SqlState::Unique, "no")));
    assert_eq!(journal.commit_blocking(bad).unwrap_err().state(), SqlState::Unique);
    let mut unknown = Transaction::default();
    unknown.append(StreamId(99), rows(&[1]));
    assert_eq!(journal.commit_blocking(unknown).unwrap_err().state(), SqlState::UndefinedTable);
    assert_eq!(insert(&journal, &[2]).unwrap(), CommitNo(2));
    assert_eq!(read_all(&journal, Position::Earliest, 10).len(), 1);
}

#[test]
fn a_value_that_the_store_refuses_hurts_no_other_transaction_of_its_group() {
    let faults = [Fault::RefuseValue(10_000)];
    let store =
        FaultyStore::new(Arc::new(MemoryStore::new()), faults).slow(Duration::from_millis(50));
    let journal = Journal::open(Arc::new(store)).unwrap();
    create(&journal);
    let put = |bytes: usize| {
        let mut transaction = Transaction::default();
        transaction.puts.put(Space::Views, "key", vec![0; bytes]);
        transaction
    };
    let computed = || {
        let mut transaction = Transaction::default();
        transaction.with_commit(|_, puts| {
            puts.put(Space::Tables, "key", vec![0; 20_000]);
            Ok(())
        });
        transaction
    };
    // While the first is written the others come together.
    let all =
        [put(10), put(100), put(20_000), computed(), put(1_000)].map(|one| journal.commit(one));
    let done = futures::executor::block_on(futures::future::join_all(all));
    let states: Vec<_> = done.iter().map(|one| one.as_ref().err().map(Error::state)).collect();
    let refused = Some(SqlState::ProgramLimit);
    assert_eq!(states, [None, None, refused, refused, None]);
}

#[test]
fn after_a_crash_acknowledged_writes_are_there_and_others_whole_or_not_at_all() {
    for n in 2..9 {
        for fault in [Fault::CrashBefore(n), Fault::CrashAfter(n), Fault::FailCommit(n)] {
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), [fault]));
            let journal = Journal::open(store.clone() as Arc<dyn Store>).unwrap();
            create(&journal);
            let mut acknowledged = Vec::new();
            let mut unknown = Vec::new();
            for k in 1..12 {
                let values: Vec<i64> = (k * 10..k * 10 + k).collect();
                match insert(&journal, &values) {
                    Ok(_) => acknowledged.push(values),
                    Err(_) => unknown.push(values),
                }
            }
            let visible = journal.stats(S).unwrap().rows;
            assert_eq!(visible, acknowledged.iter().map(|v| v.len() as u64).sum::<u64>());
            drop(journal);
            let journal = Journal::open(store.inner()).unwrap();
            let seen = read_all(&journal, Position::Earliest, 7);
            check_watermarks(&seen, false);
            let mut seen: Vec<_> = seen.into_iter().map(|w| w.1).collect();
            seen.retain(|w| {
                !acknowledged.contains(w) || acknowledged.iter().filter(|a| *a == w).count() != 1
            });
            assert!(seen.iter().all(|w| unknown.contains(w)) && seen.len() <= 1, "{fault:?}");
            assert_eq!(seen.len(), usize::from(matches!(fault, Fault::CrashAfter(_))));
        }
    }
}

#[test]
fn retention_forgets_whole_blocks_durably_and_not_what_is_still_needed() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    let mut transaction = Transaction::default();
    transaction.create_stream(S, StreamSpec { retention_ms: Some(100), ..spec() });
    journal.commit_blocking(transaction).unwrap();
    for n in 0..10 {
        let mut transaction = Transaction::at(n * 50);
        transaction.append(S, rows(&[n + 1]));
        journal.commit_blocking(transaction).unwrap();
    }
    assert_eq!(journal.retain(S, 3, 400).unwrap(), 3);
    assert_eq!(journal.retain(S, u64::MAX, 400).unwrap(), 6);
    drop(journal);
    let journal = Journal::open(store).unwrap();
    assert_eq!((journal.stats(S).unwrap().first_offset, journal.stats(S).unwrap().rows), (6, 4));
    let left: Vec<_> =
        read_all(&journal, Position::Earliest, 10).into_iter().flat_map(|w| w.1).collect();
    assert_eq!(left, [7, 8, 9, 10]);
}

#[test]
fn a_reader_says_how_many_rows_were_forgotten_before_it_came_to_them() {
    let journal = Journal::open(Arc::new(MemoryStore::new())).unwrap();
    let mut transaction = Transaction::default();
    transaction.create_stream(S, StreamSpec { retention_ms: Some(100), ..spec() });
    journal.commit_blocking(transaction).unwrap();
    let insert = |n: i64| {
        let mut transaction = Transaction::at(n * 50);
        transaction.append(S, rows(&[n + 1]));
        journal.commit_blocking(transaction).unwrap();
    };
    (0..2).for_each(insert);
    let mut early = journal.reader(S, Position::Earliest).unwrap();
    let mut late = journal.reader(S, Position::Earliest).unwrap();
    assert_eq!(early.read(journal.last(), 10).unwrap()[0].batch.num_rows(), 2);
    (2..10).for_each(insert);
    assert_eq!(journal.retain(S, u64::MAX, 400).unwrap(), 6);
    let rest = early.read(journal.last(), 10).unwrap();
    assert_eq!(rest.iter().map(|block| block.batch.num_rows()).sum::<usize>(), 4);
    assert_eq!(early.forgotten(), 4);
    // One that has not begun begins with what there is.
    late.read(journal.last(), 10).unwrap();
    assert_eq!((late.forgotten(), late.position()), (0, 10));
}

#[test]
fn a_log_on_disk_is_found_again_also_beyond_its_tail_and_a_dropped_stream_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Arc::new(DiskStore::open(dir.path()).unwrap())).unwrap();
    create(&journal);
    let all: Vec<i64> = (0..50_000).collect();
    all.chunks(13_000).for_each(|part| assert!(insert(&journal, part).is_ok()));
    drop(journal);
    let journal = Journal::open(Arc::new(DiskStore::open(dir.path()).unwrap())).unwrap();
    let seen = read_all(&journal, Position::Earliest, 3000);
    check_watermarks(&seen, false);
    assert_eq!(seen.into_iter().flat_map(|w| w.1).collect::<Vec<_>>(), all);
    let blocks =
        journal.reader(S, Position::Earliest).unwrap().read(journal.last(), usize::MAX).unwrap();
    assert!(blocks.iter().all(|b| b.batch.num_rows() <= limits::BATCH_ROWS));
    futures::executor::block_on(journal.drop_stream(S)).unwrap();
    assert!(journal.reader(S, Position::Earliest).is_err());
    drop(journal);
    let journal = Journal::open(Arc::new(DiskStore::open(dir.path()).unwrap())).unwrap();
    assert!(journal.streams().is_empty());
    assert_eq!(journal.store().keys(crate::store::Space::Log, &[], &[]).unwrap().count(), 0);
}

#[test]
fn a_reader_that_follows_the_writers_reads_what_one_reads_later_also_across_store_and_tail() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    create(&journal);
    (1..40).for_each(|n| assert!(insert(&journal, &[n, n + 1, n + 2]).is_ok()));
    drop(journal);
    let journal = Journal::open(store).unwrap();
    let mut followed = Seen::new();
    std::thread::scope(|scope| {
        for w in 1..4 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..60 {
                    let values: Vec<i64> = (0..n * w).map(|k| w * 10_000 + n * 100 + k).collect();
                    assert!(insert(journal, &values).is_ok());
                }
            });
        }
        let mut reader = journal.reader(S, Position::Earliest).unwrap();
        for portion in 1.. {
            let last = journal.last();
            take(&reader.read(last, portion % 50 + 1).unwrap(), &mut followed);
            if last == CommitNo(1 + 39 + 180)
                && reader.position() == journal.stats(S).unwrap().next_offset
            {
                take(&reader.read(last, 1).unwrap(), &mut followed);
                break;
            }
        }
    });
    assert_eq!(followed.len(), 39 + 180);
    assert_eq!(followed, read_all(&journal, Position::Earliest, usize::MAX));
}

#[test]
fn a_reader_that_is_slower_than_the_tail_goes_on_from_the_store() {
    let accounts = Accounts::new(64 << 20);
    let journal = Journal::open_within(Arc::new(MemoryStore::new()), &accounts).unwrap();
    create(&journal);
    let mut reader = journal.reader(S, Position::Earliest).unwrap();
    let mut seen = Seen::new();
    let step = 100_000i64;
    for n in 0..25 {
        assert!(insert(&journal, &(n * step..(n + 1) * step).collect::<Vec<_>>()).is_ok());
        take(&reader.read(journal.last(), 12_345).unwrap(), &mut seen);
    }
    assert!(
        journal.stats(S).unwrap().bytes
            > 4 * accounts.limit() as u64 / limits::LOG_TAIL_SHARE as u64
    );
    loop {
        let blocks = reader.read(journal.last(), 77_777).unwrap();
        if blocks.is_empty() {
            break;
        }
        take(&blocks, &mut seen);
    }
    check_watermarks(&seen, false);
    assert_eq!(
        seen.into_iter().flat_map(|w| w.1).collect::<Vec<_>>(),
        (0..25 * step).collect::<Vec<_>>()
    );
}

#[test]
fn a_log_larger_than_the_stores_memory_is_found_again_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Arc::new(DiskStore::open(dir.path()).unwrap())).unwrap();
    create(&journal);
    for n in 0..40 {
        assert!(insert(&journal, &(n * 100_000..(n + 1) * 100_000).collect::<Vec<_>>()).is_ok());
    }
    let stats = journal.stats(S).unwrap();
    drop(journal);
    let journal = Journal::open(Arc::new(DiskStore::open(dir.path()).unwrap())).unwrap();
    assert_eq!(journal.stats(S).unwrap(), stats);
    let mut reader = journal.reader(S, Position::After(CommitNo(31))).unwrap();
    assert_eq!(reader.position(), 3_000_000);
    let mut next = 3_000_000;
    loop {
        let blocks = reader.read(journal.last(), limits::BATCH_ROWS).unwrap();
        for block in &blocks {
            assert_eq!(block.batch.column(0).as_primitive::<Int64Type>().value(0), next);
            next += block.batch.num_rows() as i64;
        }
        if blocks.is_empty() {
            break;
        }
    }
    assert_eq!(next, 4_000_000);
}
