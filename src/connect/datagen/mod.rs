//! Generated rows with the columns that one declares: `connector = 'datagen'`.
//!
//! Row `n` is a function of the seed, of `n` and of when the source was created, and arrives `n` ÷
//! rate seconds after that. A column counts up (`fields.id.kind = 'sequence'`, with `start` and `end`;
//! the shortest of these ends the source) or is random (`min`, `max` of numbers, `length` of texts,
//! `max_past` of times, `null_rate` of any). A time that does not say is that at which its row arrives.
//! The options are called as Flink and RisingWave call them.

use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::options::{ConnectorOptions, bad};
use super::{EventTimes, Source, SourceBatch, SourceOffset, SourceReader, generated};
use crate::error::{Error, Result, SqlState};

mod column;

use column::GeneratedColumn;
use generated::RowArrivals;

/// Options of the source, and what others call them.
const RATE: [&str; 4] = ["rate", "rows_per_second", "rows-per-second", "datagen.rows.per.second"];
const ROWS: [&str; 3] = ["rows", "number_of_rows", "number-of-rows"];
const SEED: &str = "seed";

/// Rows that arrive in a second, unless the source says.
const DEFAULT_RATE: u64 = 10;

/// Rows as they are declared.
pub(super) struct Datagen {
    schema: SchemaRef,
    columns: Arc<[GeneratedColumn]>,
    pace: RowPace,
}

/// Which rows there are, when.
#[derive(Clone, Copy)]
pub(super) struct RowPace {
    seed: u64,
    arrivals: RowArrivals,
}

impl RowPace {
    /// When a row arrives, milliseconds since 1970.
    fn arrival_ms(&self, row: u64) -> i64 {
        let RowArrivals { per_second, created_at_ms, .. } = self.arrivals;
        let ms = (u128::from(row) + 1) * 1_000 / u128::from(per_second);
        created_at_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

impl Datagen {
    /// The columns must be declared; no time is ahead of the clock.
    pub(super) fn open(
        options: &ConnectorOptions<'_>,
        declared: &[Field],
        created_at_ms: i64,
        times: Option<EventTimes>,
    ) -> Result<Datagen> {
        if declared.is_empty() {
            let what = "connector 'datagen' needs columns";
            return Err(Error::new(SqlState::InvalidTableDefinition, what)
                .hint("Declare them: CREATE SOURCE s (id INT, v DOUBLE PRECISION) WITH (connector = 'datagen')."));
        }
        let names: Vec<&str> = declared.iter().map(|field| field.name().as_str()).collect();
        check_options(options, &names)?;
        let columns = declared.iter().enumerate();
        let columns = columns
            .map(|(at, field)| GeneratedColumn::of(options, at, field))
            .collect::<Result<Vec<_>>>()?;
        let ends = columns.iter().filter_map(GeneratedColumn::rows).min();
        let all = options.number_of(&ROWS, 0)?.into_iter().chain(ends).min();
        let per_second = options.number_of(&RATE, 1)?.unwrap_or(DEFAULT_RATE);
        let seed = options.number(SEED, 0)?.unwrap_or(0);
        if let Some(column) = times.and_then(|times| columns.get(times.column)) {
            column.check_event_time()?;
        }
        let arrivals = RowArrivals { all, per_second, created_at_ms };
        let pace = RowPace { seed, arrivals };
        let schema = Arc::new(Schema::new(declared.to_vec()));
        Ok(Datagen { schema, columns: columns.into(), pace })
    }
}

/// Refuses what is neither an option of the source nor of one of its columns.
fn check_options(options: &ConnectorOptions<'_>, columns: &[&str]) -> Result<()> {
    let own = RATE.iter().chain(&ROWS).chain([&SEED]);
    let mut known: Vec<String> = own.map(|name| (*name).to_owned()).collect();
    for name in options.names().filter(|name| name.starts_with("fields.")) {
        let of_column = name["fields.".len()..].rsplit_once('.');
        let is_known = of_column.is_some_and(|(column, option)| {
            columns.iter().any(|name| name.eq_ignore_ascii_case(column))
                && column::OPTIONS.contains(&option)
        });
        if !is_known {
            return Err(bad(format!("connector 'datagen' has no option \"{name}\"")).hint(
                format!(
                    "Write fields.COLUMN.OPTION with a column of the source and one of: {}.",
                    column::OPTIONS.join(", ")
                ),
            ));
        }
        known.push(name.to_owned());
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    options.only("datagen", &known)
}

impl Source for Datagen {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn records(&self, offset: &SourceOffset) -> u64 {
        generated::row(offset)
    }

    fn place(&self, offset: &SourceOffset) -> Result<Vec<u8>> {
        Ok(self.records(offset).to_string().into_bytes())
    }

    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>> {
        let row = generated::first_row("datagen", &from)?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let picked = columns.unwrap_or(&all).to_vec();
        let schema = Arc::new(self.schema.project(&picked)?);
        let columns = Arc::clone(&self.columns);
        Ok(Box::new(DatagenReader { schema, columns, picked, pace: self.pace, row }))
    }
}

struct DatagenReader {
    schema: SchemaRef,
    columns: Arc<[GeneratedColumn]>,
    /// Which of them.
    picked: Vec<usize>,
    pace: RowPace,
    /// The next row.
    row: u64,
}

impl SourceReader for DatagenReader {
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch> {
        let (arrived, all) = self.pace.arrivals.until(now_ms);
        let count = arrived.saturating_sub(self.row).min(max_rows as u64);
        let rows = self.row..self.row + count;
        let arrays =
            self.picked.iter().map(|at| self.columns[*at].values(rows.clone(), &self.pace));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count as usize));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        self.row += count;
        Ok(SourceBatch { batch, rejected: Vec::new(), ended: all && self.row >= arrived })
    }

    fn offset(&self) -> SourceOffset {
        generated::offset(self.row)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Float64Type, Int32Type, TimeUnit, TimestampMillisecondType};

    use super::generated::read_all;
    use super::*;

    fn open(options: &[(&str, &str)]) -> Result<Datagen> {
        let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let fields = [
            Field::new("id", DataType::Int32, true),
            Field::new("v", DataType::Float64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ];
        Datagen::open(&ConnectorOptions::new(&options).unwrap(), &fields, 1_000_000, None)
    }

    #[test]
    fn rows_are_what_their_options_say_however_they_are_read() {
        let options = [
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "5"),
            ("fields.id.end", "204"),
            ("fields.v.min", "-1"),
            ("fields.v.max", "1.5"),
            ("fields.name.length", "3"),
            ("fields.name.null_rate", "0.5"),
            ("rows-per-second", "100"),
            ("seed", "7"),
        ];
        let rows = read_all(&open(&options).unwrap(), None, 7);
        assert_eq!(rows, read_all(&open(&options).unwrap(), None, 1_000));
        let ids = rows.column(0).as_primitive::<Int32Type>().values();
        assert!(ids.iter().copied().eq(5..=204));
        let values = rows.column(1).as_primitive::<Float64Type>().values();
        assert!(values.iter().all(|value| (-1.0..1.5).contains(value)));
        let names = rows.column(2).as_string::<i32>();
        assert!(names.iter().flatten().all(|name| name.len() == 3));
        assert!((60..140).contains(&names.iter().flatten().count()));
        let times = rows.column(3).as_primitive::<TimestampMillisecondType>().values();
        assert_eq!((times[0], times[199]), (1_000_010, 1_002_000));
    }

    #[test]
    fn rows_arrive_at_the_rate() {
        let source = open(&[("rate", "50"), ("rows", "120")]).unwrap();
        let mut reader = source.reader(SourceOffset::default(), None).unwrap();
        let mut read = |now| {
            let got = reader.read(now, 1_000).unwrap();
            (got.batch.num_rows(), got.ended)
        };
        assert_eq!(
            [read(999_000), read(1_000_000), read(1_001_000)],
            [(0, false), (0, false), (50, false)]
        );
        assert_eq!([read(1_001_000), read(1_009_000)], [(0, false), (70, true)]);
    }

    #[test]
    fn options_that_mean_nothing_are_refused() {
        let check = |options: &[(&str, &str)]| {
            let refused = open(options).err().expect("a refusal");
            assert_eq!(refused.state(), SqlState::BadArgument, "{options:?}");
        };
        check(&[("fields.nobody.kind", "random")]);
        check(&[("fields.id.colour", "red")]);
        check(&[("fields.id.kind", "sometimes")]);
        check(&[("fields.id.min", "9"), ("fields.id.max", "3")]);
        check(&[("fields.id.min", "x")]);
        check(&[("fields.name.kind", "sequence"), ("fields.name.start", "a")]);
        check(&[("fields.ts.max_past", "long")]);
        check(&[("fields.id.null_rate", "2")]);
        check(&[("rate", "0")]);
    }
}
