//! COPY … TO STDOUT, and a bare SUBSCRIBE in the simple protocol: rows as encoded text, as they
//! come.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::rows::Batches;
use crate::error::Result;
use crate::pgtypes::copy;
use crate::pgtypes::copy::CopyEncoder;
use crate::pgtypes::values::TextStyle;
use crate::session::client_session::CopyOut;

/// Rows as COPY data.
pub fn copy_out(
    schema: &SchemaRef,
    batches: Batches,
    options: copy::CopyOptions,
    style: TextStyle,
) -> CopyOut {
    let is_binary = options.format == copy::CopyFormat::Binary;
    let encoder = CopyEncoder::new(schema, options, style);
    // A line of names is shown at once, however long the first row takes. The header of binary data
    // goes before the first row in the same message, where drivers look for it.
    let (line, mut header) =
        if is_binary { (Bytes::new(), encoder.start()) } else { (encoder.start(), Bytes::new()) };
    let first = stream::iter([Ok((line, 0))]);
    let pieces =
        batches.map(Some).chain(stream::iter([None])).map(move |batch| -> Result<(Bytes, u64)> {
            let (piece, rows) = match batch {
                Some(batch) => {
                    let batch = batch?;
                    (encoder.batch(&batch)?, batch.num_rows() as u64)
                }
                None => (encoder.end(), 0),
            };
            if header.is_empty() || piece.is_empty() {
                return Ok((piece, rows));
            }
            Ok((Bytes::from([std::mem::take(&mut header), piece].concat()), rows))
        });
    let stream = first.chain(pieces);
    let stream = stream
        .filter(|piece| std::future::ready(!matches!(piece, Ok((bytes, _)) if bytes.is_empty())));
    CopyOut {
        format: i16::from(is_binary),
        columns: schema.fields().len(),
        stream: stream.boxed(),
        tag: "COPY",
    }
}
