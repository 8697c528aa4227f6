//! Joined blocks and bounded memory: what is read is what was written, whatever is joined, when and
//! by whom.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::memory_pool::MemoryPool;
use proptest::prelude::*;

use super::tests::{S, Seen, check_watermarks, create, insert, read_all, rows, spec, take};
use super::*;
use crate::limits;
use crate::memory::rows::batch_bytes;
use crate::memory::{Accounts, MemoryPart};
use crate::store::faulty::Fault;
use crate::store::{FaultyStore, MemoryStore, Space, Store};
use crate::time::Watermark;

fn blocks(store: &dyn Store) -> usize {
    store.keys(Space::Log, &[], &[]).unwrap().count()
}

/// Rows one by one, now and then an advance, and at the end a large write.
fn write(journal: &Journal, from: i64, count: i64) {
    for n in from..from + count {
        if n % 37 == 5 {
            let mut transaction = Transaction::default();
            transaction.advance(S, Watermark(n % 900));
            journal.commit_blocking(transaction).unwrap();
        }
        insert(journal, &[n]).unwrap();
    }
    insert(journal, &(from..from + 20 * count).collect::<Vec<_>>()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn readers_in_the_middle_miss_and_double_nothing_when_blocks_are_joined(
        steps in prop::collection::vec((1i64..150, 1usize..400, any::<bool>()), 1..8),
        is_reopened in any::<bool>(),
    ) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let mut journal = Journal::open(Arc::clone(&store)).unwrap();
        create(&journal);
        write(&journal, 1, 100);
        if is_reopened {
            // Then nothing of it is in memory.
            drop(journal);
            journal = Journal::open(Arc::clone(&store)).unwrap();
        }
        let mut readers: Vec<(LogReader, Seen)> = Vec::new();
        for (at, (count, portion, joins)) in steps.into_iter().enumerate() {
            readers.push((journal.reader(S, Position::Earliest).unwrap(), Seen::new()));
            for (reader, seen) in &mut readers {
                take(&reader.read(journal.last(), portion).unwrap(), seen);
            }
            write(&journal, 1000 * (at as i64 + 1), count);
            let before = read_all(&journal, Position::Earliest, portion);
            if joins {
                journal.join_blocks().unwrap();
            }
            prop_assert_eq!(&read_all(&journal, Position::Earliest, usize::MAX), &before);
        }
        let whole = read_all(&journal, Position::Earliest, usize::MAX);
        for (mut reader, mut seen) in readers {
            loop {
                let blocks = reader.read(journal.last(), 333).unwrap();
                if blocks.is_empty() {
                    break;
                }
                take(&blocks, &mut seen);
            }
            prop_assert_eq!(&seen, &whole);
        }
        let stats = journal.stats(S).unwrap();
        drop(journal);
        let journal = Journal::open(Arc::clone(&store)).unwrap();
        prop_assert_eq!(journal.stats(S).unwrap(), stats);
        let stored: u64 = store.scan(Space::Log, &[], &[]).unwrap().map(|e| e.unwrap().1.len() as u64).sum();
        prop_assert_eq!(stats.bytes, stored, "what is said to be stored is");
        prop_assert_eq!(&read_all(&journal, Position::Earliest, 97), &whole);
        for write in whole.iter().step_by(41) {
            let rest = read_all(&journal, Position::After(CommitNo(write.0)), 1000);
            prop_assert_eq!(rest.first().map(|w| w.0), whole.iter().map(|w| w.0).find(|n| *n > write.0));
        }
    }
}

#[test]
fn rows_written_one_by_one_become_few_blocks_on_disk_and_in_memory() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    create(&journal);
    for round in 0..20 {
        (0..300).for_each(|n| assert!(insert(&journal, &[round * 300 + n + 1]).is_ok()));
        journal.join_blocks().unwrap();
    }
    let (stored, held) = (blocks(&*store), journal.tails().blocks);
    assert!(stored < 100 && held < 100, "{stored} blocks in the store, {held} in memory, of 6000");
    let bytes = journal.stats(S).unwrap().bytes;
    assert!(bytes < 6000 * 50, "{bytes} bytes");
    check_watermarks(&read_all(&journal, Position::Earliest, 1000), false);
}

#[test]
fn blocks_that_a_start_finds_are_joined_too() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    create(&journal);
    (1..1000).for_each(|n| assert!(insert(&journal, &[n]).is_ok()));
    drop(journal);
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    assert!(journal.join_blocks().unwrap() > 900);
    assert_eq!(journal.join_blocks().unwrap(), 0, "and then no more");
    assert!(blocks(&*store) < 60, "{}", blocks(&*store));
}

#[test]
fn a_crash_while_blocks_are_joined_loses_and_doubles_nothing() {
    for fault in [Fault::CrashBefore(202), Fault::CrashAfter(202), Fault::FailCommit(202)] {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), [fault]));
        let journal = Journal::open(store.clone() as Arc<dyn Store>).unwrap();
        create(&journal);
        (1..=200).for_each(|n| assert!(insert(&journal, &[n]).is_ok()));
        let before = read_all(&journal, Position::Earliest, 1000);
        assert!(journal.join_blocks().is_err(), "{fault:?}");
        drop(journal);
        let journal = Journal::open(store.inner()).unwrap();
        assert_eq!(read_all(&journal, Position::Earliest, 7), before, "{fault:?}");
        journal.join_blocks().unwrap();
        drop(journal);
        let journal = Journal::open(store.inner()).unwrap();
        assert_eq!(read_all(&journal, Position::Earliest, 7), before, "{fault:?}");
        assert!(blocks(&*store.inner()) < 20, "{fault:?}");
    }
}

#[test]
fn blocks_are_joined_while_others_write_read_forget_and_drop() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    // A small tail: most is read from the store.
    let journal = Journal::open_within(Arc::clone(&store), &Accounts::new(64 << 10)).unwrap();
    create(&journal);
    let other = StreamId(8);
    let mut transaction = Transaction::default();
    transaction.create_stream(other, StreamSpec { retention_bytes: Some(40_000), ..spec() });
    journal.commit_blocking(transaction).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Acquire) {
                journal.join_blocks().unwrap();
                journal.retain(other, u64::MAX, 0).unwrap();
            }
        });
        let reader = scope.spawn(|| {
            let mut reader = journal.reader(S, Position::Earliest).unwrap();
            let mut seen = Seen::new();
            while seen.len() < 2000 {
                take(&reader.read(journal.last(), 50).unwrap(), &mut seen);
            }
            seen
        });
        for n in 1..=2000 {
            let mut transaction = Transaction::default();
            transaction.append(S, rows(&[n]));
            transaction.append(other, rows(&[n]));
            journal.commit_blocking(transaction).unwrap();
        }
        let seen = reader.join().unwrap();
        is_done.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(seen, read_all(&journal, Position::Earliest, usize::MAX));
        check_watermarks(&seen, false);
    });
    futures::executor::block_on(journal.drop_stream(S)).unwrap();
    futures::executor::block_on(journal.drop_stream(other)).unwrap();
    assert_eq!(blocks(&*store), 0);
    assert_eq!(journal.tails(), TailStats::default());
}

fn texts(count: usize, bytes: usize) -> RecordBatch {
    let values =
        StringArray::from_iter_values((0..count).map(|n| format!("{n}{}", "x".repeat(bytes))));
    let numbers = Int64Array::from_iter_values(0..count as i64);
    RecordBatch::try_new(wide(), vec![Arc::new(numbers) as ArrayRef, Arc::new(values)]).unwrap()
}

fn wide() -> Arc<Schema> {
    let fields = [Field::new("n", DataType::Int64, false), Field::new("v", DataType::Utf8, false)];
    Arc::new(Schema::new(fields.to_vec()))
}

fn wide_stream(journal: &Journal, stream: StreamId) {
    let mut transaction = Transaction::default();
    let spec =
        StreamSpec { schema: wide(), watermark: None, retention_ms: None, retention_bytes: None };
    transaction.create_stream(stream, spec);
    journal.commit_blocking(transaction).unwrap();
}

fn append(journal: &Journal, stream: StreamId, batch: RecordBatch) {
    let mut transaction = Transaction::default();
    transaction.append(stream, batch);
    journal.commit_blocking(transaction).unwrap();
}

#[test]
fn a_reading_and_its_batches_are_bounded_in_bytes_and_a_larger_row_comes_alone() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    wide_stream(&journal, S);
    append(&journal, S, texts(30, 2 << 20));
    append(&journal, S, texts(1, limits::READ_BYTES + 1));
    append(&journal, S, texts(20_000, 100));
    for journal in [Journal::open(store).unwrap(), journal] {
        let mut reader = journal.reader(S, Position::Earliest).unwrap();
        let mut rows = 0;
        loop {
            let blocks = reader.read(journal.last(), usize::MAX).unwrap();
            let bytes: usize = blocks.iter().map(|block| batch_bytes(&block.batch)).sum();
            let count: usize = blocks.iter().map(|block| block.batch.num_rows()).sum();
            assert!(bytes <= limits::READ_BYTES || count == 1, "{bytes} bytes of {count} rows");
            for LogBlock { batch, .. } in &blocks {
                let is_small = batch_bytes(batch) <= limits::BLOCK_BYTES || batch.num_rows() == 1;
                assert!(is_small, "{} bytes of {} rows", batch_bytes(batch), batch.num_rows());
            }
            rows += count;
            if blocks.is_empty() {
                break;
            }
        }
        assert!(!reader.has_more());
        assert_eq!(rows, 20_031);
    }
}

#[test]
fn a_reader_of_some_columns_gets_these_and_does_not_hold_the_others() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let journal = Journal::open(Arc::clone(&store)).unwrap();
    wide_stream(&journal, S);
    append(&journal, S, texts(3, 1 << 20));
    for journal in [journal, Journal::open(store).unwrap()] {
        let read = |columns: Vec<usize>| {
            let mut reader = journal.reader_of(S, Position::Earliest, columns).unwrap();
            let blocks = reader.read(journal.last(), usize::MAX).unwrap();
            let names = blocks[0]
                .batch
                .schema()
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect::<Vec<_>>();
            let bytes: usize = blocks.iter().map(|block| block.batch.get_array_memory_size()).sum();
            (names.join(" "), bytes < 1 << 20, reader.position())
        };
        assert_eq!(read(vec![1, 0]), ("v n".to_owned(), false, 3));
        assert_eq!(read(vec![0]), ("n".to_owned(), true, 3));
        assert_eq!(read(vec![]), (String::new(), true, 3));
    }
}

#[test]
fn all_tails_together_have_one_budget_and_the_one_used_longest_ago_gives_way() {
    let accounts = Accounts::new(limits::LOG_TAIL_SHARE << 20);
    let journal = Journal::open_within(Arc::new(MemoryStore::new()), &accounts).unwrap();
    let streams: Vec<StreamId> = (1..=4).map(StreamId).collect();
    streams.iter().for_each(|stream| wide_stream(&journal, *stream));
    let held = || (journal.tails().streams, accounts.part(MemoryPart::LogTails));
    streams[..3].iter().for_each(|stream| append(&journal, *stream, texts(7000, 31)));
    assert_eq!(held().0, 3);
    // The first one is read, so the second is the one that has not been used for longest.
    let read = |stream: StreamId| {
        let mut reader = journal.reader(stream, Position::Earliest).unwrap();
        reader
            .read(journal.last(), usize::MAX)
            .unwrap()
            .iter()
            .map(|b| b.batch.num_rows())
            .sum::<usize>()
    };
    assert_eq!(read(streams[0]), 7000);
    append(&journal, streams[3], texts(7000, 31));
    assert_eq!(journal.tail_blocks(), [1, 0, 1, 1]);
    assert!(held().1 <= 1 << 20, "{:?}", held());
    assert_eq!(held().1, journal.tails().bytes);
    assert!(streams.iter().all(|stream| read(*stream) == 7000));
    // Where others have taken the memory, tails have none.
    let others = accounts.reserve(MemoryPart::Queries);
    others.try_grow(accounts.limit() - accounts.reserved()).unwrap();
    append(&journal, streams[0], texts(7000, 31));
    assert!(accounts.reserved() <= accounts.limit());
    assert_eq!(read(streams[0]), 14_000);
    futures::executor::block_on(journal.drop_stream(streams[3])).unwrap();
    assert_eq!(held().1, journal.tails().bytes);
}
