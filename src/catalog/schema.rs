//! A schema that was made: a name that relations can be under. `public` is always there and has no
//! entry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::relation::RelationId;
use crate::error::{Error, Result};
use crate::store::codec::{decode_json, encode_json};

/// Key prefix of schemas in [`Space::Meta`](crate::store::Space::Meta).
pub(super) const PREFIX: &[u8] = b"schema/";

/// Where they end.
pub(super) const END: &[u8] = b"schema0";

/// The version of the record.
const HEAD: u8 = 1;

/// The version of the stored form.
const FORMAT: u32 = 1;

/// A schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Its identity, of the series of the relations'.
    pub id: RelationId,
    /// Its name.
    pub name: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct StoredSchema<S> {
    format: u32,
    schema: S,
}

/// The key of a schema in the store.
pub(super) fn key(id: RelationId) -> Vec<u8> {
    let mut key = PREFIX.to_vec();
    key.extend_from_slice(format!("{:016x}", id.0).as_bytes());
    key
}

pub(super) fn encode(schema: &Schema) -> Result<Bytes> {
    encode_json(HEAD, &StoredSchema { format: FORMAT, schema })
}

pub(super) fn decode(value: Bytes) -> Result<Schema> {
    let stored: StoredSchema<Schema> = decode_json(HEAD, value)?;
    match stored.format {
        ..=FORMAT => Ok(stored.schema),
        newer => {
            Err(Error::internal(format!("format {newer} is newer than this version's {FORMAT}")))
        }
    }
}
