//! The tables of `pg_catalog` that do not depend on what there is: those that are always empty, and
//! those that never change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::catalog::{MemTable, TableProvider};
use parking_lot::Mutex;

use super::shape::TableColumns;
use crate::error::Result;
use crate::pgtypes::copy::{CopyDecoder, CopyOptions};

/// Tables that are always empty here, with the columns that clients ask for; a line each.
const EMPTY: &str = include_str!("postgres15/empty.txt");

/// The columns of a table that is always empty.
pub(crate) fn empty(name: &str) -> Option<&'static str> {
    EMPTY.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// The tables that never change: what PostgreSQL 15 has in them when a database is new, without
/// what is found in the system it runs on. The first line has the columns, the others are `COPY
/// (SELECT … FROM pg_catalog.NAME) TO STDOUT`. Names of functions (`regproc`) are text; where a
/// function's oid is asked for, none is known.
const OF_POSTGRES: &[(&str, &str)] = &[
    ("pg_aggregate", include_str!("postgres15/pg_aggregate.tsv")),
    ("pg_am", include_str!("postgres15/pg_am.tsv")),
    ("pg_amop", include_str!("postgres15/pg_amop.tsv")),
    ("pg_amproc", include_str!("postgres15/pg_amproc.tsv")),
    ("pg_cast", include_str!("postgres15/pg_cast.tsv")),
    ("pg_collation", include_str!("postgres15/pg_collation.tsv")),
    ("pg_conversion", include_str!("postgres15/pg_conversion.tsv")),
    ("pg_description", include_str!("postgres15/pg_description.tsv")),
    ("pg_language", include_str!("postgres15/pg_language.tsv")),
    ("pg_opclass", include_str!("postgres15/pg_opclass.tsv")),
    ("pg_operator", include_str!("postgres15/pg_operator.tsv")),
    ("pg_opfamily", include_str!("postgres15/pg_opfamily.tsv")),
    ("pg_range", include_str!("postgres15/pg_range.tsv")),
    ("pg_ts_config", include_str!("postgres15/pg_ts_config.tsv")),
    ("pg_ts_dict", include_str!("postgres15/pg_ts_dict.tsv")),
    ("pg_ts_parser", include_str!("postgres15/pg_ts_parser.tsv")),
    ("pg_ts_template", include_str!("postgres15/pg_ts_template.tsv")),
    ("pg_type", include_str!("postgres15/pg_type.tsv")),
];

/// What never changes, as Postgres has it.
pub(crate) fn of_postgres(name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match rows(name)? {
        Some(rows) => Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))),
        None => Ok(None),
    }
}

/// The rows of such a table; read once.
pub(crate) fn rows(name: &str) -> Result<Option<RecordBatch>> {
    static ROWS: Mutex<BTreeMap<&str, RecordBatch>> = Mutex::new(BTreeMap::new());
    let Some((name, text)) = OF_POSTGRES.iter().find(|(known, _)| *known == name) else {
        return Ok(None);
    };
    if let Some(rows) = ROWS.lock().get(name) {
        return Ok(Some(rows.clone()));
    }
    let (columns, data) = text.split_once('\n').unwrap_or((text, ""));
    let mut decoder = CopyDecoder::new(TableColumns::new(columns)?.columns(), CopyOptions::text());
    decoder.push(data.as_bytes())?;
    let mut batches = Vec::new();
    while let Some(batch) = decoder.take() {
        batches.push(batch);
    }
    while let Some(batch) = decoder.finish()? {
        batches.push(batch);
    }
    let rows = concat_batches(&decoder.schema(), &batches)?;
    ROWS.lock().insert(name, rows.clone());
    Ok(Some(rows))
}
