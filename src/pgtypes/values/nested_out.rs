//! Arrays, rows and maps on their way out (`array_out`, `array_send`, `record_out`, `record_send`).
//!
//! A nested value is written into a buffer of its own first, because only its text tells whether it
//! needs quotes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::TextStyle;
use super::encode::{Encoder, Layout};
use crate::error::{Error, Result, SqlState};

/// The elements of one list, whichever list type it is.
fn elements(array: &dyn Array, row: usize) -> ArrayRef {
    match array.data_type() {
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list().value(row),
        DataType::ListView(_) => array.as_list_view::<i32>().value(row),
        DataType::LargeListView(_) => array.as_list_view::<i64>().value(row),
        _ => array.as_list::<i32>().value(row),
    }
}

/// `{a,"b c",NULL}`; lists in lists are further dimensions and stand without quotes.
pub(crate) fn array_text(
    element: &Encoder,
    array: &dyn Array,
    row: usize,
    style: &TextStyle,
    out: &mut BytesMut,
) {
    let values = elements(array, row);
    out.put_u8(b'{');
    for i in 0..values.len() {
        if i > 0 {
            out.put_u8(b',');
        }
        if element.is_null(&values, i) {
            out.put_slice(b"NULL");
            continue;
        }
        let start = out.len();
        element.text(&values, i, style, out);
        if !matches!(element.layout, Layout::List(_)) && array_needs_quotes(&out[start..]) {
            let plain = out.split_off(start);
            out.put_u8(b'"');
            for byte in plain {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b'}');
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn array_needs_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"NULL")
        || text.iter().any(|b| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*b))
}

/// `(1,"a b",)`.
pub(crate) fn record_text(
    fields: &[Encoder],
    array: &dyn Array,
    row: usize,
    style: &TextStyle,
    out: &mut BytesMut,
) {
    let columns = array.as_struct().columns();
    out.put_u8(b'(');
    for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        if field.is_null(column, row) {
            continue;
        }
        let start = out.len();
        field.text(column, row, style, out);
        if record_needs_quotes(&out[start..]) {
            let plain = out.split_off(start);
            out.put_u8(b'"');
            for byte in plain {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(byte);
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b')');
}

fn record_needs_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.iter().any(|b| matches!(b, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*b))
}

/// A map as a JSON object; numbers and booleans stand bare.
pub(crate) fn map_text(
    key: &Encoder,
    value: &Encoder,
    array: &dyn Array,
    row: usize,
    style: &TextStyle,
    out: &mut BytesMut,
) {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut scratch = BytesMut::new();
    out.put_u8(b'{');
    for i in 0..entries.len() {
        if i > 0 {
            out.put_slice(b", ");
        }
        scratch.clear();
        key.text(keys, i, style, &mut scratch);
        json_string(&scratch, out);
        out.put_slice(b": ");
        if value.is_null(values, i) {
            out.put_slice(b"null");
            continue;
        }
        scratch.clear();
        value.text(values, i, style, &mut scratch);
        match values.data_type() {
            DataType::Boolean => out.put_slice(if scratch[0] == b't' { b"true" } else { b"false" }),
            t if t.is_numeric() && scratch.last().is_some_and(u8::is_ascii_digit) => {
                out.put_slice(&scratch)
            }
            DataType::Map(_, _) => out.put_slice(&scratch),
            _ => json_string(&scratch, out),
        }
    }
    out.put_u8(b'}');
}

fn json_string(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', *byte]),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            0..=0x1f => out.put_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
}

/// Dimensions, whether there are NULLs, element oid, extents, then the elements of all dimensions
/// in order.
pub(crate) fn array_binary(
    element: &Encoder,
    array: &dyn Array,
    row: usize,
    out: &mut BytesMut,
) -> Result<()> {
    let mut leaf = element;
    let mut depth = 1;
    while let Layout::List(inner) = &leaf.layout {
        leaf = inner;
        depth += 1;
    }
    let mut extents = vec![None; depth];
    let mut body = BytesMut::new();
    let mut has_null = false;
    flatten(element, &elements(array, row), 0, &mut extents, &mut has_null, &mut body)?;
    let empty = extents.iter().any(|e| e.unwrap_or(0) == 0);
    out.put_i32(if empty { 0 } else { depth as i32 });
    out.put_i32(i32::from(has_null));
    out.put_u32(leaf.sql_type().oid());
    if !empty {
        for extent in extents {
            out.put_i32(extent.unwrap_or(0));
            out.put_i32(1);
        }
        out.put_slice(&body);
    }
    Ok(())
}

fn flatten(
    encoder: &Encoder,
    values: &ArrayRef,
    depth: usize,
    extents: &mut [Option<i32>],
    has_null: &mut bool,
    out: &mut BytesMut,
) -> Result<()> {
    let length = values.len() as i32;
    // In Postgres an array is a box: what is ragged has no binary form.
    if *extents[depth].get_or_insert(length) != length {
        return Err(Error::unsupported(
            "a multidimensional array with sub-arrays of different lengths",
        )
        .hint("Read it as text."));
    }
    for i in 0..values.len() {
        let null = encoder.is_null(values, i);
        match &encoder.layout {
            Layout::List(inner) if !null => {
                flatten(inner, &elements(values, i), depth + 1, extents, has_null, out)?;
            }
            Layout::List(_) => {
                return Err(Error::unsupported("a multidimensional array with a NULL sub-array")
                    .hint("Read it as text."));
            }
            _ if null => {
                *has_null = true;
                out.put_i32(-1);
            }
            _ => sized(encoder, values, i, out)?,
        }
    }
    Ok(())
}

/// Number of fields, then each with its oid.
pub(crate) fn record_binary(
    fields: &[Encoder],
    array: &dyn Array,
    row: usize,
    out: &mut BytesMut,
) -> Result<()> {
    let columns = array.as_struct().columns();
    out.put_i32(fields.len() as i32);
    for (field, column) in fields.iter().zip(columns) {
        out.put_u32(field.sql_type().oid());
        if field.is_null(column, row) {
            out.put_i32(-1);
        } else {
            sized(field, column, row, out)?;
        }
    }
    Ok(())
}

/// A value behind its length.
pub(crate) fn sized(
    encoder: &Encoder,
    array: &dyn Array,
    row: usize,
    out: &mut BytesMut,
) -> Result<()> {
    let start = out.len();
    out.put_i32(0);
    encoder.binary(array, row, out)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| Error::new(SqlState::ProgramLimit, "a value is larger than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
