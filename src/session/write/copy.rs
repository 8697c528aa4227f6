//! COPY … FROM STDIN: decoded as it comes in, kept in memory, added as one write at the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use datafusion::execution::memory_pool::MemoryReservation;

use super::super::transaction::{SessionTransaction, WriteContext, no_memory};
use super::insert::add;
use super::query::too_large;
use super::rows::RowMaker;
use super::target::{self, Verb};
use crate::catalog::Relation;
use crate::error::Result;
use crate::limits;
use crate::memory::MemoryPart;
use crate::pgtypes::copy::CopyDecoder;
use crate::sql::{self, CopyFrom};
use crate::types::Zone;

/// Checks the target and begins to decode.
pub(in crate::session) fn copy_in(cx: &WriteContext, copy: &CopyFrom) -> Result<Copying> {
    let relation = target::relation(&cx.names, &copy.name, Verb::Copy)?;
    let given = if copy.columns.is_empty() {
        (0..relation.columns.len()).filter(|at| relation.columns[*at].generated.is_none()).collect()
    } else {
        target::columns(&relation, &copy.columns)?
    };
    if let Some(at) = given.iter().find(|at| relation.columns[**at].generated.is_some()) {
        return Err(target::generated(&relation, *at, Verb::Copy));
    }
    let columns = given.iter().map(|at| &relation.columns[*at]);
    let columns = columns.map(|c| (c.name.clone(), c.sql_type.clone(), c.not_null)).collect();
    let zone = Zone::of_setting(&cx.style.time_zone).unwrap_or(Zone::Utc);
    Ok(Copying {
        decoder: CopyDecoder::new(columns, copy.options.clone()).in_zone(zone),
        format: i16::from(copy.options.format == sql::CopyFormat::Binary),
        maker: RowMaker::new(cx, &relation)?,
        cx: cx.clone(),
        relation,
        given,
        batches: Vec::new(),
        rows: 0,
        memory: cx.engine.planner.accounts().reserve(MemoryPart::Writes),
    })
}

/// The rows of a COPY … FROM STDIN as they come in; kept until the end.
pub(in crate::session) struct Copying {
    cx: WriteContext,
    relation: Arc<Relation>,
    maker: RowMaker,
    decoder: CopyDecoder,
    format: i16,
    /// Which column of the relation each column of the data is.
    given: Vec<usize>,
    batches: Vec<RecordBatch>,
    rows: u64,
    /// What the batches take of `--memory-limit`.
    memory: MemoryReservation,
}

impl Copying {
    fn keep(&mut self, batch: RecordBatch) -> Result<()> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.relation.columns.len()];
        for (column, at) in batch.columns().iter().zip(&self.given) {
            columns[*at] = Some(Arc::clone(column));
        }
        let whole = self.maker.complete(columns, batch.num_rows())?;
        self.rows += whole.num_rows() as u64;
        self.memory.try_grow(whole.get_array_memory_size()).map_err(|_| no_memory("the COPY"))?;
        if self.memory.size() > limits::WRITE_BYTES {
            return Err(too_large());
        }
        self.batches.push(whole);
        Ok(())
    }

    /// 0 text and csv, 1 binary.
    pub(in crate::session) fn format(&self) -> i16 {
        self.format
    }

    /// How many columns the data has.
    pub(in crate::session) fn columns(&self) -> usize {
        self.given.len()
    }

    /// Takes the next bytes; they may end in the middle of a row.
    pub(in crate::session) fn data(&mut self, bytes: &Bytes) -> Result<()> {
        self.decoder.push(bytes)?;
        while let Some(batch) = self.decoder.take() {
            self.keep(batch)?;
        }
        Ok(())
    }

    /// There are no more: adds the rows to the transaction and says how many there were.
    pub(in crate::session) async fn finish(mut self, tx: &mut SessionTransaction) -> Result<u64> {
        while let Some(batch) = self.decoder.finish()? {
            self.keep(batch)?;
        }
        // From here on they are the transaction's.
        self.memory.free();
        add(&self.cx.engine, tx, &self.relation, &self.batches).await?;
        Ok(self.rows)
    }
}
