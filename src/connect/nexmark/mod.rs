//! The Nexmark benchmark's auction site as a source: persons, auctions and bids, as many as one
//! likes.
//!
//! | file | idea |
//! |---|---|
//! | `settings` | the options, as Tidemill, Flink and RisingWave call them |
//! | `site_columns` | the rows of one kind of event, or all events with a struct for each kind |
//! | `generate` | what the columns of event `n` are |
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

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::options::ConnectorOptions;
use super::{EventTimes, Source, SourceBatch, SourceOffset, SourceReader, generated};
use crate::error::{Error, Result, SqlState};

mod generate;
mod settings;
mod site_columns;

use generate::Site;
use generated::RowArrivals;
use settings::SiteSettings;
pub(super) use settings::implied_columns;
use site_columns::{SiteColumn, SiteRows};

/// Events a second of event time when the source has no rate.
const DEFAULT_RATE: u64 = 10_000;

/// Rows of the site: those of one table, or all events.
pub(super) struct Nexmark {
    schema: SchemaRef,
    columns: Vec<SiteColumn>,
    pace: Pace,
    site: Site,
}

/// Which rows there are, when.
#[derive(Clone, Copy)]
struct Pace {
    rows: SiteRows,
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
        (self.rows.among(events), all)
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
        let settings = settings::read(options)?;
        let (fields, columns) = if declared.is_empty() {
            settings.rows.columns().into_iter().unzip()
        } else {
            (declared.to_vec(), settings.rows.matching(declared)?)
        };
        if let Some(column) = times.and_then(|times| fields.get(times.column))
            && !matches!(column.data_type(), DataType::Timestamp(..))
        {
            let what = format!("column \"{}\" of nexmark is no time", column.name());
            return Err(
                Error::new(SqlState::TypeMismatch, what).hint("Its event time is date_time.")
            );
        }
        let SiteSettings { rows, events, rate, seed } = settings;
        let pace = Pace { rows, events, rate, created_at_ms };
        let site = Site::new(seed, rate.unwrap_or(DEFAULT_RATE));
        Ok(Nexmark { schema: Arc::new(Schema::new(fields)), columns, pace, site })
    }
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
                some.iter().map(|i| self.columns[*i].clone()).collect(),
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
    columns: Vec<SiteColumn>,
    pace: Pace,
    site: Site,
    /// The next one.
    row: u64,
}

impl SourceReader for NexmarkReader {
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch> {
        let (arrived, all) = self.pace.arrived(now_ms);
        let count = arrived.saturating_sub(self.row).min(max_rows as u64);
        let events: Vec<u64> =
            (self.row..self.row + count).map(|row| self.pace.rows.event(row)).collect();
        let arrays = self.columns.iter().zip(self.schema.fields());
        let arrays = arrays
            .map(|(column, wanted)| column.values(&self.site, &events, wanted))
            .collect::<Result<Vec<_>>>()?;
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
    use arrow::array::{Array, AsArray, BooleanArray};
    use arrow::compute::filter;
    use arrow::datatypes::{Fields, Int32Type, Int64Type, TimestampMicrosecondType};

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
    fn all_events_are_those_of_the_three_tables_in_their_order() {
        let events = read_all(&open(&[("events", "300"), ("seed", "3")], 0), None, 7);
        let kinds = events.column(0).as_primitive::<Int32Type>();
        let times = events.column(4).as_primitive::<TimestampMicrosecondType>();
        for (kind, name) in ["person", "auction", "bid"].into_iter().enumerate() {
            let of_kind: BooleanArray =
                kinds.iter().map(|other| Some(other == Some(kind as i32))).collect();
            let structs = events.column(1 + kind);
            assert_eq!(structs.null_count(), of_kind.false_count(), "{name}");
            let own = filter(structs, &of_kind).unwrap();
            let table = open(&[("table", name), ("events", "300"), ("seed", "3")], 0);
            let table = read_all(&table, None, 1_000);
            assert_eq!(own.as_struct().columns(), table.columns(), "{name}");
            let own_times = filter(times, &of_kind).unwrap();
            assert_eq!(&own_times, table.column_by_name("date_time").unwrap(), "{name}");
        }
    }

    #[test]
    fn columns_are_found_as_others_spell_them() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let inner = Fields::from(vec![text("itemName"), Field::new("id", DataType::Int32, true)]);
        let auction = Field::new("auction", DataType::Struct(inner), true);
        let options = [("nexmark.event.num".to_owned(), "100".to_owned())];
        let options = ConnectorOptions::new(&options).unwrap();
        let open = |declared: &[Field]| Nexmark::open(&options, declared, 0, None);
        let rows = read_all(&open(&[auction, text("dateTime")]).unwrap(), None, 100);
        let auctions = rows.column(0).as_struct();
        assert_eq!((auctions.null_count(), auctions.len()), (94, 100));
        assert_eq!(auctions.column(1).as_primitive::<Int32Type>().value(1), 1000);
        for wrong in [text("auction"), text("title")] {
            assert!(open(&[wrong]).is_err());
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
