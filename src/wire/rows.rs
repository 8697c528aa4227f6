//! Rows to DataRow messages, live.
//!
//! A page is a batch on its way out and how far it has got, so that a portal can stop after any row
//! and a full socket after any row too. Rows are written straight into the buffer that goes to the
//! socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{BufMut, BytesMut};
use futures::stream::BoxStream;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::link::{Link, Stop};
use super::report::clean;
use crate::error::{Error, Result, SqlState, panicked};
use crate::limits;
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::types::SqlType;

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueFormat {
    Text,
    Binary,
}

impl ValueFormat {
    /// The format that a code asks for.
    pub fn of(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => {
                Err(Error::new(SqlState::BadArgument, format!("unsupported format code: {other}")))
            }
        }
    }

    /// The format of each of `count` things: no code is text for all, one code is for all.
    pub fn spread(
        codes: &[i16],
        count: usize,
        mismatch: impl FnOnce() -> Error,
    ) -> Result<Vec<Self>> {
        match codes {
            [] => Ok(vec![Self::Text; count]),
            [code] => Ok(vec![Self::of(*code)?; count]),
            codes if codes.len() == count => codes.iter().copied().map(Self::of).collect(),
            _ => Err(mismatch()),
        }
    }

    fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// The RowDescription of these columns; `formats` is one per column.
pub(super) fn describe(schema: &Schema, formats: &[ValueFormat]) -> Result<Reply> {
    check_width(schema)?;
    let columns = schema.fields().iter().zip(formats).map(|(field, format)| {
        let sql = SqlType::from_field(field);
        FieldDescription::new(
            clean(field.name()),
            0,
            0,
            sql.oid(),
            sql.typlen(),
            sql.modifier(),
            format.code(),
        )
    });
    Ok(Reply::RowDescription(RowDescription::new(columns.collect())))
}

/// Refuses more columns than a message can count.
fn check_width(schema: &Schema) -> Result<()> {
    let width = schema.fields().len();
    match i16::try_from(width) {
        Ok(_) => Ok(()),
        Err(_) => {
            let message = format!("a result of {width} columns is too wide");
            Err(Error::new(SqlState::ProgramLimit, message)
                .detail(format!("A result has at most {} columns.", i16::MAX)))
        }
    }
}

/// Rows on their way to a client, of one statement or portal.
pub(super) struct Flow {
    stream: BoxStream<'static, Result<RecordBatch>>,
    columns: Vec<(Encoder, ValueFormat)>,
    page: Option<Page>,
}

/// What sending rows came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// There are no more; how many were sent this time.
    All(u64),
    /// As many as were asked for; there may be more.
    Enough,
}

impl Flow {
    pub fn new(
        schema: &Schema,
        formats: &[ValueFormat],
        stream: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<Self> {
        check_width(schema)?;
        let encoders = schema.fields().iter().map(|field| Encoder::new(field));
        Ok(Self { stream, columns: encoders.zip(formats.iter().copied()).collect(), page: None })
    }

    /// Sends up to `most` rows (None: all) as they come, and waits for the client to take them.
    pub async fn send(
        &mut self,
        link: &mut Link,
        style: &TextStyle,
        most: Option<u64>,
    ) -> Result<Sent, Stop> {
        let mut sent = 0;
        loop {
            while let Some(page) = &mut self.page {
                if most == Some(sent) {
                    return Ok(Sent::Enough);
                }
                let room = most.map_or(u64::MAX, |most| most - sent);
                let written = catch_unwind(AssertUnwindSafe(|| {
                    page.write(&self.columns, style, room, &mut link.out)
                }));
                sent += written.unwrap_or_else(|panic| Err(panicked("the statement", &*panic)))?;
                if page.next == page.batch.num_rows() {
                    self.page = None;
                }
                link.flush_if_large().await?;
            }
            if most == Some(sent) {
                return Ok(Sent::Enough);
            }
            match link.next_live(&mut self.stream).await? {
                Some(batch) => self.page = Page::of(batch, self.columns.len())?,
                None => return Ok(Sent::All(sent)),
            }
        }
    }
}

/// A batch and the first of its rows that is not sent yet.
struct Page {
    batch: RecordBatch,
    next: usize,
}

impl Page {
    /// None when there is no row in it.
    fn of(batch: RecordBatch, columns: usize) -> Result<Option<Self>> {
        if batch.num_columns() != columns {
            let got = batch.num_columns();
            return Err(Error::internal(format!(
                "a batch has {got} columns, its schema {columns}"
            )));
        }
        Ok((batch.num_rows() > 0).then_some(Self { batch, next: 0 }))
    }

    /// Writes rows until they are `most`, or enough to be sent, or at the end; says how many.
    fn write(
        &mut self,
        columns: &[(Encoder, ValueFormat)],
        style: &TextStyle,
        most: u64,
        out: &mut BytesMut,
    ) -> Result<u64> {
        let mut written = 0;
        while written < most && self.next < self.batch.num_rows() && out.len() < limits::SEND_BYTES
        {
            let start = out.len();
            if let Err(error) = self.row(columns, style, out) {
                out.truncate(start);
                return Err(error);
            }
            self.next += 1;
            written += 1;
        }
        Ok(written)
    }

    fn row(
        &self,
        columns: &[(Encoder, ValueFormat)],
        style: &TextStyle,
        out: &mut BytesMut,
    ) -> Result<()> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        out.put_u16(columns.len() as u16);
        for ((encoder, format), array) in columns.iter().zip(self.batch.columns()) {
            if encoder.is_null(array.as_ref(), self.next) {
                out.put_i32(-1);
                continue;
            }
            let word = out.len();
            out.put_u32(0);
            match format {
                ValueFormat::Text => encoder.text(array.as_ref(), self.next, style, out),
                ValueFormat::Binary => encoder.binary(array.as_ref(), self.next, out)?,
            }
            let length = out.len() - word - 4;
            out[word..word + 4].copy_from_slice(&(length as u32).to_be_bytes());
        }
        let length = out.len() - start - 1;
        if length > limits::WIRE_ROW_BYTES {
            return Err(Error::new(
                SqlState::ProgramLimit,
                format!("a row of {length} bytes is too large"),
            ));
        }
        out[start + 1..start + 5].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(())
    }
}
