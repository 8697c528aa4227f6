//! A key of a table, the primary or one that is UNIQUE: from its bytes to the row that has it. A row with a
//! NULL in it has none.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;
use hashbrown::HashMap;

use super::chunk::{RowId, TableChunk};
use super::{TableSpec, UniqueKey};
use crate::error::{Error, Result, SqlState};
use crate::types::normalised;

/// Keys to rows.
pub(super) struct KeyIndex {
    key: UniqueKey,
    names: Vec<String>,
    converter: RowConverter,
    pub(super) rows: HashMap<Box<[u8]>, RowId>,
}

impl KeyIndex {
    pub(super) fn new(spec: &TableSpec, key: &UniqueKey) -> Result<KeyIndex> {
        let fields = key.columns.iter().map(|at| spec.schema.field(*at));
        let sort = fields.clone().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(KeyIndex {
            key: key.clone(),
            names: fields.map(|field| field.name().clone()).collect(),
            converter: RowConverter::new(sort)?,
            rows: HashMap::new(),
        })
    }

    /// The key columns of a batch.
    pub(super) fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.key.columns.iter().map(|at| batch.column(*at).clone()).collect()
    }

    /// Their bytes, comparable for equality.
    pub(super) fn keys(&self, columns: &[ArrayRef]) -> Result<Rows> {
        if columns.len() != self.names.len() {
            return Err(Error::internal("a key with the wrong number of columns"));
        }
        let columns: Vec<ArrayRef> = columns.iter().map(normalised).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// 23505 for the key in that row of the key columns.
    pub(super) fn duplicate(&self, columns: &[ArrayRef], row: usize) -> Error {
        let values = columns
            .iter()
            .map(|c| array_value_to_string(c, row).unwrap_or_else(|_| "?".to_owned()));
        let values: Vec<_> = values.collect();
        Error::new(
            SqlState::Unique,
            format!("duplicate key value violates unique constraint \"{}\"", self.key.constraint),
        )
        .detail(format!(
            "Key ({})=({}) already exists.",
            self.names.join(", "),
            values.join(", ")
        ))
    }

    /// About how many bytes it takes: the keys are taken to be as long as some of them are.
    pub(super) fn bytes(&self) -> usize {
        const SAMPLE: usize = 16;
        let sampled = self.rows.keys().take(SAMPLE);
        let (count, bytes) =
            sampled.fold((0, 0), |(count, bytes), key| (count + 1, bytes + key.len()));
        let key_bytes = bytes.checked_div(count).unwrap_or(0).next_multiple_of(16);
        let slot = size_of::<(Box<[u8]>, RowId)>() + 1;
        self.rows.capacity() * slot + self.rows.len() * key_bytes
    }

    /// Forgets all and reads the chunks.
    pub(super) fn rebuild(&mut self, chunks: &[TableChunk]) -> Result<()> {
        self.rows = HashMap::with_capacity(chunks.iter().map(|c| c.live).sum());
        for (at, chunk) in chunks.iter().enumerate() {
            let columns = self.key_columns(&chunk.batch);
            let keys = self.keys(&columns)?;
            let is_one = |row: &usize| !chunk.is_deleted(*row) && has_key(&columns, *row);
            for row in (0..chunk.batch.num_rows()).filter(is_one) {
                self.rows.insert(keys.row(row).as_ref().into(), RowId::new(at, row));
            }
        }
        Ok(())
    }
}

/// Whether none of the columns of a key is NULL there.
pub(super) fn has_key(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().all(|column| column.is_valid(row))
}
