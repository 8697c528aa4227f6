//! What is read of a stream's log, and what is left where it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::contents::StreamContents;
use crate::log::{Journal, StreamId, StreamSpec, TailStats, Transaction};
use crate::plan::relations::Contents;
use crate::store::{FaultyStore, MemoryStore, Store};

const S: StreamId = StreamId(7);

/// How long a text is.
const TEXT: usize = 1 << 20;

fn schema() -> SchemaRef {
    let fields = [Field::new("n", DataType::Int64, false), Field::new("v", DataType::Utf8, false)];
    Arc::new(Schema::new(fields.to_vec()))
}

/// The numbers from `first` on, and a long text beside each.
fn rows(first: i64, count: usize) -> RecordBatch {
    let numbers = Int64Array::from_iter_values((first..).take(count));
    let texts = StringArray::from_iter_values((0..count).map(|_| "x".repeat(TEXT)));
    RecordBatch::try_new(schema(), vec![Arc::new(numbers) as ArrayRef, Arc::new(texts)]).unwrap()
}

/// Eight rows of which nothing is in memory, and two that the own transaction has appended.
fn contents() -> (Arc<FaultyStore>, StreamContents) {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), []));
    let journal = Journal::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let mut transaction = Transaction::default();
    let spec =
        StreamSpec { schema: schema(), watermark: None, retention_ms: None, retention_bytes: None };
    transaction.create_stream(S, spec);
    journal.commit_blocking(transaction).unwrap();
    let mut transaction = Transaction::default();
    transaction.append(S, rows(0, 8));
    journal.commit_blocking(transaction).unwrap();
    drop(journal);
    let journal = Journal::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    assert_eq!(journal.tails(), TailStats::default());
    let upto = journal.last();
    (store, StreamContents { journal, stream: S, upto, own: vec![rows(8, 2)] })
}

fn read(contents: &StreamContents, columns: &[usize]) -> Vec<RecordBatch> {
    contents.batches(Some(columns)).unwrap().map(|batch| batch.unwrap()).collect()
}

/// What batches hold in memory: the buffers, not only what they show of them.
fn held(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).sum()
}

#[test]
fn who_only_counts_the_rows_of_a_stream_reads_none_of_them() {
    let (store, contents) = contents();
    let before = store.reads();
    let batches = read(&contents, &[]);
    assert_eq!(store.reads(), before);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    assert!(batches.iter().all(|batch| batch.num_columns() == 0));
}

#[test]
fn a_narrow_column_of_a_stream_is_read_without_the_wide_one_beside_it() {
    let (_, contents) = contents();
    let narrow = read(&contents, &[0]);
    let numbers: Vec<i64> = narrow
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert!(held(&narrow) < TEXT, "{} bytes", held(&narrow));
    // So that it is known that this is how it is seen.
    let both = read(&contents, &[1, 0]);
    assert_eq!(both[0].schema().field(0).name(), "v");
    assert!(held(&both) >= 10 * TEXT, "{} bytes", held(&both));
}
