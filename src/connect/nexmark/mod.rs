//! The Nexmark benchmark's auction site as a source: persons, auctions and bids, as many as one
//! likes.
//!
//! Event `n` of the site is a pure function of the seed and `n`: events 50k are persons, 50k+1 …
//! 50k+3 auctions, the other 46 bids (Nexmark's proportion 1 : 3 : 46). `events` counts all three
//! kinds, so that sources over the three tables with the same `events` and `seed` are one site:
//! bids name auctions and persons that exist. Event `n` happens at 2015-07-15 00:00:00 plus `n` ÷
//! rate seconds (10,000 events a second without `rate`), to the millisecond below. With `rate`
//! events also arrive at that pace from the moment the source was created.
//!
//! The published crate `nexmark` is not used: it has no seed, computes times in 32-bit floats (they
//! stand still after some ten million events) and makes every string of an event whether or not it
//! is wanted.
//!
//! Tucker, Tufte, Papadimos, Maier: NEXMark – A Benchmark for Queries over Data Streams, 2002;
//! Apache Beam's generator.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatchOptions};
use datafusion::arrow::compute::{can_cast_types, cast};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;

use super::options::{ConnectorOptions, bad};
use super::{EventTimes, Source, SourceBatch, SourceOffset, SourceReader, generated};
use crate::error::{Error, Result, SqlState};

mod generate;

use generate::{NexmarkColumn, Site};
use generated::RowArrivals;

const OPTIONS: [&str; 4] = ["table", "events", "rate", "seed"];

/// Events a second of event time when the source has no rate.
const DEFAULT_RATE: u64 = 10_000;

/// The three kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NexmarkTable {
    Person,
    Auction,
    Bid,
}

impl NexmarkTable {
    fn of(options: &ConnectorOptions<'_>) -> Result<NexmarkTable> {
        options.required("table")?;
        Ok(match options.word("table", &["person", "auction", "bid"])? {
            "person" => NexmarkTable::Person,
            "auction" => NexmarkTable::Auction,
            _ => NexmarkTable::Bid,
        })
    }

    /// Of each 50 events, which are this table's: the first one and how many.
    fn share(self) -> (u64, u64) {
        match self {
            NexmarkTable::Person => (0, 1),
            NexmarkTable::Auction => (1, 3),
            NexmarkTable::Bid => (4, 46),
        }
    }

    /// The event that is this table's row `row`.
    fn event(self, row: u64) -> u64 {
        let (first, count) = self.share();
        row / count * 50 + first + row % count
    }

    /// How many of the first `events` events are this table's.
    fn rows(self, events: u64) -> u64 {
        let (first, count) = self.share();
        events / 50 * count + (events % 50).saturating_sub(first).min(count)
    }

    fn columns(self) -> Vec<NexmarkColumn> {
        use NexmarkColumn::*;
        match self {
            NexmarkTable::Person => {
                vec![PersonId, Name, Email, CreditCard, City, State, DateTime, PersonExtra]
            }
            NexmarkTable::Auction => vec![
                AuctionId,
                ItemName,
                Description,
                InitialBid,
                Reserve,
                DateTime,
                Expires,
                Seller,
                Category,
                AuctionExtra,
            ],
            NexmarkTable::Bid => vec![BidAuction, Bidder, Price, Channel, Url, DateTime, BidExtra],
        }
    }
}

/// The columns of the table that the options name, all NOT NULL.
pub(super) fn implied_columns(options: &ConnectorOptions<'_>) -> Result<Vec<Field>> {
    Ok(NexmarkTable::of(options)?.columns().into_iter().map(field).collect())
}

fn field(column: NexmarkColumn) -> Field {
    let kind = if column.is_text() {
        DataType::Utf8
    } else if column.is_time() {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    } else {
        DataType::Int64
    };
    Field::new(column.name(), kind, false)
}

/// One table of the site.
pub(super) struct Nexmark {
    schema: SchemaRef,
    columns: Vec<NexmarkColumn>,
    pace: Pace,
    site: Site,
}

/// Which rows there are, when.
#[derive(Clone, Copy)]
struct Pace {
    table: NexmarkTable,
    events: Option<u64>,
    rate: Option<u64>,
    created_at_ms: i64,
}

impl Pace {
    /// How many rows have arrived by then, and whether these are all there will ever be.
    fn arrived(&self, now_ms: i64) -> (u64, bool) {
        let (events, all) = match self.rate {
            Some(per_second) => {
                let (all, created_at_ms) = (self.events, self.created_at_ms);
                RowArrivals { all, per_second, created_at_ms }.until(now_ms)
            }
            None => (self.events.unwrap_or(u64::MAX), true),
        };
        (self.table.rows(events), all)
    }
}

impl Nexmark {
    /// Generated times lie in 2015 and after, at the rate; none is missing or ahead of the clock.
    pub(super) fn open(
        options: &ConnectorOptions<'_>,
        declared: &[Field],
        created_at_ms: i64,
        times: Option<EventTimes>,
    ) -> Result<Nexmark> {
        options.only("nexmark", &OPTIONS)?;
        let table = NexmarkTable::of(options)?;
        let (events, rate) = (options.number("events", 0)?, options.number("rate", 1)?);
        if events.is_none() && rate.is_none() {
            return Err(bad("connector 'nexmark' needs option \"events\" or \"rate\"".into())
                .hint(
                    "events is how many events there are in all, rate how many arrive in a second.",
                ));
        }
        let seed = options.number("seed", 0)?.unwrap_or(0);
        let (fields, columns) = if declared.is_empty() {
            (implied_columns(options)?, table.columns())
        } else {
            (declared.to_vec(), matching(table, declared)?)
        };
        if let Some(column) = times.and_then(|times| columns.get(times.column))
            && !column.is_time()
        {
            let what = format!("column \"{}\" of nexmark is no time", column.name());
            return Err(
                Error::new(SqlState::TypeMismatch, what).hint("Its event time is date_time.")
            );
        }
        let pace = Pace { table, events, rate, created_at_ms };
        let site = Site::new(seed, rate.unwrap_or(DEFAULT_RATE));
        Ok(Nexmark { schema: Arc::new(Schema::new(fields)), columns, pace, site })
    }
}

/// The generator's column for each declared one.
fn matching(table: NexmarkTable, declared: &[Field]) -> Result<Vec<NexmarkColumn>> {
    let all = table.columns();
    declared
        .iter()
        .map(|wanted| {
            let found = all.iter().copied().find(|c| c.name().eq_ignore_ascii_case(wanted.name()));
            let column = found.ok_or_else(|| {
                let names: Vec<_> = all.iter().map(|c| c.name()).collect();
                Error::new(
                    SqlState::UndefinedColumn,
                    format!("nexmark has no column \"{}\" there", wanted.name()),
                )
                .hint(format!("There are: {}.", names.join(", ")))
            })?;
            let own = field(column);
            if !can_cast_types(own.data_type(), wanted.data_type()) {
                return Err(Error::new(
                    SqlState::TypeMismatch,
                    format!(
                        "column \"{}\" of nexmark cannot be read as {}",
                        wanted.name(),
                        wanted.data_type()
                    ),
                )
                .hint(format!("It is {}.", own.data_type())));
            }
            Ok(column)
        })
        .collect()
}

impl Source for Nexmark {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn place(&self, offset: &SourceOffset) -> Result<Vec<u8>> {
        Ok(self.records(offset).to_string().into_bytes())
    }

    fn records(&self, offset: &SourceOffset) -> u64 {
        generated::row(offset)
    }

    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>> {
        let row = generated::first_row("nexmark", &from)?;
        let (schema, columns) = match columns {
            None => (self.schema.clone(), self.columns.clone()),
            Some(some) => (
                Arc::new(self.schema.project(some)?),
                some.iter().map(|i| self.columns[*i]).collect(),
            ),
        };
        Ok(Box::new(NexmarkReader {
            schema,
            columns,
            pace: self.pace,
            site: self.site.clone(),
            row,
        }))
    }
}

struct NexmarkReader {
    schema: SchemaRef,
    columns: Vec<NexmarkColumn>,
    pace: Pace,
    site: Site,
    /// The next row of the table.
    row: u64,
}

impl SourceReader for NexmarkReader {
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch> {
        let (arrived, all) = self.pace.arrived(now_ms);
        let count = arrived.saturating_sub(self.row).min(max_rows as u64);
        let events: Vec<u64> =
            (self.row..self.row + count).map(|row| self.pace.table.event(row)).collect();
        let arrays = self.columns.iter().zip(self.schema.fields()).map(|(column, wanted)| {
            let array: ArrayRef = self.site.column(*column, &events);
            if array.data_type() == wanted.data_type() {
                Ok(array)
            } else {
                Ok(cast(&array, wanted.data_type())?)
            }
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(events.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &rows)?;
        self.row += count;
        Ok(SourceBatch { batch, rejected: Vec::new(), ended: all && self.row >= arrived })
    }

    fn offset(&self) -> SourceOffset {
        generated::offset(self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::generated::read_all;
    use super::*;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    fn open(options: &[(&str, &str)], created: i64) -> Nexmark {
        let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Nexmark::open(&ConnectorOptions::new(&options).unwrap(), &[], created, None).unwrap()
    }

    #[test]
    fn the_three_tables_share_the_events_one_to_three_to_forty_six() {
        for (table, rows) in [("person", 21), ("auction", 63), ("bid", 956)] {
            let source = open(&[("table", table), ("events", "1040")], 0);
            assert_eq!(read_all(&source, None, 10_000).num_rows(), rows, "{table}");
        }
    }

    #[test]
    fn rows_do_not_depend_on_how_many_are_read_at_a_time_nor_on_the_columns() {
        for table in ["person", "auction", "bid"] {
            let source = open(&[("table", table), ("events", "3000"), ("seed", "7")], 0);
            let whole = read_all(&source, None, 10_000);
            assert_eq!(whole, read_all(&source, None, 7), "{table}");
            assert_eq!(
                whole.project(&[6, 2]).unwrap(),
                read_all(&source, Some(&[6, 2]), 100),
                "{table}"
            );
            let other = open(&[("table", table), ("events", "3000"), ("seed", "8")], 0);
            assert_ne!(whole, read_all(&other, None, 10_000), "{table}");
        }
    }

    #[test]
    fn rows_arrive_at_the_rate_and_no_faster() {
        let source = open(&[("table", "bid"), ("rate", "1000"), ("events", "5000")], 10_000);
        let mut reader = source.reader(SourceOffset::default(), None).unwrap();
        let mut read = |now| {
            let got = reader.read(now, 1_000_000).unwrap();
            (got.batch.num_rows(), got.ended)
        };
        assert_eq!(read(9_000), (0, false));
        assert_eq!(read(11_000), (920, false));
        assert_eq!(read(11_000), (0, false));
        assert_eq!(read(12_000), (920, false));
        assert_eq!(read(60_000), (2760, true));
    }

    #[test]
    fn bids_name_auctions_and_times_go_up() {
        let bids = read_all(
            &open(&[("table", "bid"), ("events", "500000")], 0),
            Some(&[0, 5, 2]),
            100_000,
        );
        let times = bids.column(1).as_primitive::<TimestampMicrosecondType>().values();
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(times[0], 1_436_918_400_000_000);
        assert_eq!(times.last().unwrap() - times[0], 49_999_000);
        let auctions = bids.column(0).as_primitive::<Int64Type>().values();
        // Bids run at most ten ids ahead of the last auction.
        assert!(auctions.iter().all(|id| (1000..1000 + 30_000 + 10).contains(id)));
        let prices = bids.column(2).as_primitive::<Int64Type>().values();
        assert!(prices.iter().all(|price| (100..=100_000_000).contains(price)));
    }
}
