//! Connectors, read and decoded once for all views that stand at the same place.
//!
//! ```text
//!  view a ─┐                        ┌▶ a's columns
//!  view b ─┼─ same place ─▶ decode ─┼▶ b's columns       view d, elsewhere, reads by itself
//!  view c ─┘  (all columns wanted)  └▶ c's columns       and joins when it comes here
//! ```
//! Before an epoch every view says where it stands and which columns it wants ([`Wish`]). Where two
//! or more stand at one place, the first that reads decodes the portion with the columns of all of
//! them; the others take it as it is. It is let go with the last of them, or when the epoch ends.
//! What waits to be taken is bounded by [`limits::SHARED_DECODE_BYTES`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::catalog::RelationId;
use crate::connect::{Rejected, Source, SourceOffset, SourceReader};
use crate::error::Result;
use crate::limits;

/// What a view would read next of a connector.
pub struct Wish {
    /// Of which stream.
    pub stream: RelationId,
    /// Its connector.
    pub source: Arc<dyn Source>,
    /// Where the view stands.
    pub offset: SourceOffset,
    /// The columns that it wants.
    pub columns: Vec<usize>,
}

/// A portion of a connector's records.
pub struct SourcePortion {
    /// The columns that the batches have, as positions in the stream.
    pub columns: Vec<usize>,
    /// The rows; the last batch of an ended input may have none.
    pub batches: Vec<RecordBatch>,
    /// What is to be kept aside.
    pub rejected: Vec<Rejected>,
    /// Where to go on.
    pub offset: SourceOffset,
    /// There was nothing more.
    pub drained: bool,
    /// There will never be more.
    pub ended: bool,
}

/// How much one portion may be.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Rows.
    pub rows: usize,
    /// Bytes of decoded columns; at least one batch is read.
    pub bytes: usize,
}

/// Reads a portion.
pub fn read_portion(
    reader: &mut dyn SourceReader,
    columns: &[usize],
    now_ms: i64,
    most: Most,
) -> Result<SourcePortion> {
    let (mut batches, mut rejected) = (Vec::new(), Vec::new());
    let (mut left, mut bytes) = (most.rows, 0);
    let (drained, ended) = loop {
        let read = reader.read(now_ms, left.min(limits::BATCH_ROWS * 8))?;
        let rows = read.batch.num_rows();
        let taken = rows + read.rejected.len();
        rejected.extend(read.rejected);
        if rows > 0 || read.ended {
            bytes += read.batch.get_array_memory_size();
            batches.push(read.batch);
        }
        left = left.saturating_sub(taken);
        if taken == 0 || read.ended {
            break (true, read.ended);
        }
        if left == 0 || bytes >= most.bytes {
            break (false, false);
        }
    };
    Ok(SourcePortion {
        columns: columns.to_vec(),
        batches,
        rejected,
        offset: reader.offset(),
        drained,
        ended,
    })
}

/// A stream, and a place in it.
type Key = (RelationId, Vec<u8>);

/// What the views of an epoch read together.
#[derive(Default)]
pub struct SharedReads {
    groups: HashMap<Key, ReadGroup>,
    /// Readers that go on where the last epoch ended.
    readers: HashMap<Key, OpenReader>,
    /// Decoded and not yet taken by all.
    bytes: usize,
}

/// Views that stand at one place.
struct ReadGroup {
    source: Arc<dyn Source>,
    offset: SourceOffset,
    columns: Vec<usize>,
    /// How many have not taken their portion yet.
    left: usize,
    portion: Option<(Arc<SourcePortion>, usize)>,
}

struct OpenReader {
    columns: Vec<usize>,
    reader: Box<dyn SourceReader>,
}

impl SharedReads {
    /// Before an epoch: who stands where.
    pub fn begin(&mut self, wishes: impl Iterator<Item = Wish>) -> Result<()> {
        self.end();
        for wish in wishes {
            let key = (wish.stream, wish.source.place(&wish.offset)?);
            let group = self.groups.entry(key).or_insert_with(|| ReadGroup {
                source: Arc::clone(&wish.source),
                offset: wish.offset,
                columns: Vec::new(),
                left: 0,
                portion: None,
            });
            group.left += 1;
            group.columns.extend(wish.columns);
        }
        self.groups.retain(|_, group| group.left > 1);
        for group in self.groups.values_mut() {
            group.columns.sort_unstable();
            group.columns.dedup();
        }
        // A reader that nobody follows any more, or that lacks a column, is closed.
        let groups = &self.groups;
        self.readers.retain(|key, reader| {
            groups.get(key).is_some_and(|group| group.columns == reader.columns)
        });
        Ok(())
    }

    /// After an epoch: nothing decoded stays.
    pub fn end(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    /// The next portion for a view that stands there; None: it stands alone and reads by itself.
    pub fn take(
        &mut self,
        stream: RelationId,
        source: &dyn Source,
        offset: &SourceOffset,
        now_ms: i64,
        rows: usize,
    ) -> Result<Option<Arc<SourcePortion>>> {
        let key = (stream, source.place(offset)?);
        let Some(group) = self.groups.get_mut(&key) else { return Ok(None) };
        let (portion, bytes) = match group.portion.take() {
            Some(read) => read,
            None => {
                let mut reader = match self.readers.remove(&key) {
                    Some(reader) => reader,
                    None => OpenReader {
                        reader: group.source.reader(group.offset.clone(), Some(&group.columns))?,
                        columns: group.columns.clone(),
                    },
                };
                let most =
                    Most { rows, bytes: limits::SHARED_DECODE_BYTES.saturating_sub(self.bytes) };
                let portion = read_portion(&mut *reader.reader, &reader.columns, now_ms, most)?;
                if !portion.ended {
                    let place = group.source.place(&portion.offset)?;
                    self.readers.insert((stream, place), reader);
                }
                let bytes = portion.batches.iter().map(RecordBatch::get_array_memory_size).sum();
                self.bytes += bytes;
                (Arc::new(portion), bytes)
            }
        };
        group.left = group.left.saturating_sub(1);
        match group.left {
            0 => self.bytes = self.bytes.saturating_sub(bytes),
            _ => group.portion = Some((Arc::clone(&portion), bytes)),
        }
        Ok(Some(portion))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

    use super::*;
    use crate::connect::SourceBatch;

    /// Rows 0 to 99, `column × 1000 + row`; counts how many values it has decoded.
    struct Counted(Arc<AtomicUsize>);

    struct CountedReader(Arc<AtomicUsize>, Vec<usize>, usize);

    impl Source for Counted {
        fn schema(&self) -> SchemaRef {
            let field = |name: &str| Field::new(name, DataType::Int64, false);
            Arc::new(Schema::new(vec![field("a"), field("b"), field("c")]))
        }

        fn reader(
            &self,
            from: SourceOffset,
            columns: Option<&[usize]>,
        ) -> Result<Box<dyn SourceReader>> {
            let row = from.to_string().parse().unwrap_or(0);
            let columns = columns.map_or(vec![0, 1, 2], <[usize]>::to_vec);
            Ok(Box::new(CountedReader(Arc::clone(&self.0), columns, row)))
        }
    }

    impl SourceReader for CountedReader {
        fn read(&mut self, _: i64, max_rows: usize) -> Result<SourceBatch> {
            let end = (self.2 + max_rows).min(100);
            let rows = self.2..end;
            self.0.fetch_add(rows.len() * self.1.len(), Ordering::Relaxed);
            let values = self.1.iter().map(|column| {
                let values = rows.clone().map(|row| (column * 1000 + row) as i64);
                (column.to_string(), Arc::new(Int64Array::from_iter_values(values)) as ArrayRef)
            });
            let batch = RecordBatch::try_from_iter(values)?;
            self.2 = end;
            Ok(SourceBatch { batch, rejected: Vec::new(), ended: false })
        }

        fn offset(&self) -> SourceOffset {
            SourceOffset::from_bytes(self.2.to_string().into_bytes())
        }
    }

    struct Views {
        source: Arc<dyn Source>,
        decoded: Arc<AtomicUsize>,
        shared: SharedReads,
        /// Where each stands, and what it wants.
        at: Vec<(SourceOffset, Vec<usize>)>,
    }

    impl Views {
        fn new(at: &[(&str, &[usize])]) -> Views {
            let decoded = Arc::new(AtomicUsize::new(0));
            let at = at.iter().map(|(at, columns)| (offset(at), columns.to_vec())).collect();
            Views {
                source: Arc::new(Counted(Arc::clone(&decoded))),
                decoded,
                shared: SharedReads::default(),
                at,
            }
        }

        /// An epoch of at most so many rows: for each view the first value of each column, if it
        /// has read together with others; and how many values were decoded.
        fn epoch(&mut self, rows: usize) -> (Vec<Option<Vec<i64>>>, usize) {
            let before = self.decoded.load(Ordering::Relaxed);
            let wishes: Vec<_> = self
                .at
                .iter()
                .map(|(offset, columns)| Wish {
                    stream: RelationId(1),
                    source: Arc::clone(&self.source),
                    offset: offset.clone(),
                    columns: columns.clone(),
                })
                .collect();
            self.shared.begin(wishes.into_iter()).unwrap();
            let mut all = Vec::new();
            for (at, columns) in &mut self.at {
                let taken = self.shared.take(RelationId(1), &*self.source, at, 0, rows).unwrap();
                all.push(taken.map(|portion| {
                    *at = portion.offset.clone();
                    let first = |column: &usize| {
                        let place =
                            portion.columns.iter().position(|known| known == column).unwrap();
                        portion.batches[0].column(place).as_primitive::<Int64Type>().value(0)
                    };
                    columns.iter().map(first).collect()
                }));
            }
            assert_eq!(self.shared.bytes, 0, "everything has been taken");
            self.shared.end();
            (all, self.decoded.load(Ordering::Relaxed) - before)
        }
    }

    fn offset(text: &str) -> SourceOffset {
        SourceOffset::from_bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn views_at_one_place_decode_its_rows_once_with_the_columns_of_all() {
        let mut views = Views::new(&[("0", &[0]), ("0", &[2, 0]), ("0", &[0])]);
        let (first, decoded) = views.epoch(10);
        assert_eq!(first, [Some(vec![0]), Some(vec![2000, 0]), Some(vec![0])]);
        assert_eq!(decoded, 20, "ten rows of two columns");
        let (second, decoded) = views.epoch(10);
        assert_eq!(second, [Some(vec![10]), Some(vec![2010, 10]), Some(vec![10])]);
        assert_eq!(decoded, 20);
    }

    #[test]
    fn a_view_that_stands_elsewhere_reads_by_itself_and_joins_when_it_has_come_there() {
        let mut views = Views::new(&[("10", &[0]), ("10", &[1]), ("5", &[2])]);
        let (taken, _) = views.epoch(10);
        assert_eq!(taken, [Some(vec![10]), Some(vec![1010]), None]);
        // It has read up to there meanwhile, and brings a column of its own.
        views.at[2].0 = offset("20");
        let (taken, decoded) = views.epoch(10);
        assert_eq!(taken, [Some(vec![20]), Some(vec![1020]), Some(vec![2020])]);
        assert_eq!(decoded, 30);
    }

    #[test]
    fn what_waits_to_be_taken_is_bounded() {
        let mut reader = CountedReader(Arc::default(), vec![0], 0);
        let portion =
            read_portion(&mut reader, &[0], 0, Most { rows: 1_000_000, bytes: 1 }).unwrap();
        assert_eq!((portion.batches.len(), portion.drained), (1, false));
    }
}
