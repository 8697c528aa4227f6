//! COPY … TO STDOUT, and a bare SUBSCRIBE in the simple protocol: rows as encoded text, as they come.

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream;

use super::conversation::CopyOut;
use super::rows::Batches;
use crate::error::Result;
use crate::sql;
use crate::types::copy::{self, CopyEncoder};
use crate::types::pg::TextStyle;

/// COPY's options as `types` knows them.
pub fn options(options: &sql::CopyOptions) -> copy::CopyOptions {
    let columns = |given: &Option<sql::ForceColumns>| {
        given.as_ref().map(|columns| match columns {
            sql::ForceColumns::All => copy::ForceColumns::All,
            sql::ForceColumns::Some(names) => copy::ForceColumns::Some(names.clone()),
        })
    };
    copy::CopyOptions {
        format: match options.format {
            sql::CopyFormat::Text => copy::CopyFormat::Text,
            sql::CopyFormat::Csv => copy::CopyFormat::Csv,
            sql::CopyFormat::Binary => copy::CopyFormat::Binary,
        },
        delimiter: options.delimiter,
        null: options.null.clone(),
        header: match options.header {
            sql::CopyHeader::Off => copy::CopyHeader::Off,
            sql::CopyHeader::On => copy::CopyHeader::On,
            sql::CopyHeader::Match => copy::CopyHeader::Match,
        },
        quote: options.quote,
        escape: options.escape,
        force_quote: columns(&options.force_quote),
        force_not_null: columns(&options.force_not_null),
        force_null: columns(&options.force_null),
    }
}

/// Rows as COPY data.
pub fn copy_out(
    schema: &SchemaRef,
    batches: Batches,
    options: copy::CopyOptions,
    style: TextStyle,
) -> CopyOut {
    let format = i16::from(options.format == copy::CopyFormat::Binary);
    let encoder = CopyEncoder::new(schema, options, style);
    let start = encoder.start();
    let first = stream::iter((!start.is_empty()).then_some(Ok((start, 0))));
    let end = encoder.end();
    let rows = batches.map(move |batch| -> Result<(Bytes, u64)> {
        let batch = batch?;
        Ok((encoder.batch(&batch)?, batch.num_rows() as u64))
    });
    let last = stream::iter((!end.is_empty()).then_some(Ok((end, 0))));
    CopyOut {
        format,
        columns: schema.fields().len(),
        stream: first.chain(rows).chain(last).boxed(),
        tag: "COPY",
    }
}
