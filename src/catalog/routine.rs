//! One function or aggregate of the user's: its signature, what it does, and its stored form.
//!
//! Functions have names of their own, several may share one (they differ in their arguments), and
//! they have numbers of the same series as relations: whatever uses one names it among the things
//! it depends on, and only uses older ones. So nothing can use itself.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::relation::{Relation, RelationId};
use crate::error::{Error, Result};
use crate::store::codec::{decode_json, encode_json};
use crate::types::{SqlType, quote_name};

/// Key prefix of functions in [`Space::Meta`](crate::store::Space::Meta), and where it ends.
pub(super) const ROUTINES: (&[u8], &[u8]) = (b"function/", b"function0");

/// The version of the stored form of a function.
const ROUTINE_FORMAT: u32 = 1;

/// The version of the record around it.
const ROUTINE_HEAD: u8 = 1;

/// A function or an aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routine {
    /// Its identity, of the series of the relations'.
    pub id: RelationId,
    /// Its name in the one schema, `public`.
    pub name: String,
    /// What it takes, in order.
    pub arguments: Vec<Argument>,
    /// What it gives.
    pub returns: SqlType,
    /// What it does.
    pub kind: RoutineKind,
    /// The functions that it calls.
    pub depends_on: Vec<RelationId>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type, without length or precision, as in Postgres.
    pub sql_type: SqlType,
}

/// What a routine does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RoutineKind {
    /// CREATE FUNCTION … LANGUAGE SQL.
    Function(FunctionDef),
    /// CREATE AGGREGATE.
    Aggregate(AggregateDef),
}

/// What an aggregate is made of: its functions by their numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateDef {
    /// STYPE.
    pub state: SqlType,
    /// INITCOND: what a group begins with, as text.
    pub initial: Option<String>,
    /// SFUNC.
    pub transition: RelationId,
    /// COMBINEFUNC.
    pub combine: Option<RelationId>,
    /// FINALFUNC.
    pub finish: Option<RelationId>,
    /// MINVFUNC.
    pub inverse: Option<RelationId>,
}

/// What a function is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionDef {
    /// The one expression that it computes.
    pub expr: String,
    /// Its body as it was written.
    pub body: BodyText,
    /// It gives NULL where an argument is NULL, and is not computed for it.
    pub strict: bool,
    /// What was said of it. What counts is what its expression calls: a function that is said to be
    /// VOLATILE and is not is none the less.
    pub stability: Stability,
}

/// The two ways to write a body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BodyText {
    /// AS 'text'.
    Text(String),
    /// RETURN expr.
    Return(String),
}

/// IMMUTABLE, STABLE, VOLATILE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Stability {
    Immutable,
    Stable,
    Volatile,
}

impl Routine {
    /// Whether it is an aggregate.
    pub fn is_aggregate(&self) -> bool {
        matches!(self.kind, RoutineKind::Aggregate(_))
    }

    /// What errors and notices call it, as in Postgres.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            RoutineKind::Function(_) | RoutineKind::Aggregate(_) => "function",
        }
    }

    /// Its name with the types of its arguments: `f(integer,text)`.
    pub fn signature(&self) -> String {
        let types: Vec<String> = self.arguments.iter().map(|a| a.sql_type.to_string()).collect();
        format!("{}({})", self.name, types.join(","))
    }

    /// Whether it takes just these types.
    pub fn takes(&self, types: &[SqlType]) -> bool {
        self.arguments.len() == types.len()
            && self.arguments.iter().zip(types).all(|(argument, t)| argument.sql_type == *t)
    }

    /// The arguments as they are declared: `a integer, b text`.
    pub fn declared_arguments(&self) -> String {
        let declared: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| match &argument.name {
                Some(name) => format!("{} {}", quote_name(name), argument.sql_type.declaration()),
                None => argument.sql_type.declaration(),
            })
            .collect();
        declared.join(", ")
    }
}

/// A relation or a routine: what can depend on something.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum CatalogObject {
    Relation(Arc<Relation>),
    Routine(Arc<Routine>),
}

impl CatalogObject {
    /// Its identity.
    pub fn id(&self) -> RelationId {
        match self {
            CatalogObject::Relation(relation) => relation.id,
            CatalogObject::Routine(routine) => routine.id,
        }
    }

    /// What it uses.
    pub fn depends_on(&self) -> &[RelationId] {
        match self {
            CatalogObject::Relation(relation) => &relation.depends_on,
            CatalogObject::Routine(routine) => &routine.depends_on,
        }
    }

    /// Its kind and name, as errors and notices say it: `view v`, `function f(integer)`.
    pub fn described(&self) -> String {
        match self {
            CatalogObject::Relation(relation) => {
                format!("{} {}", relation.kind_name(), relation.shown_name())
            }
            CatalogObject::Routine(routine) => {
                format!("{} {}", routine.kind_name(), routine.signature())
            }
        }
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct StoredRoutine<R> {
    format: u32,
    routine: R,
}

/// The key of a routine in the store.
pub(super) fn key(id: RelationId) -> Vec<u8> {
    let mut key = ROUTINES.0.to_vec();
    key.extend_from_slice(format!("{:016x}", id.0).as_bytes());
    key
}

pub(super) fn encode(routine: &Routine) -> Result<Bytes> {
    encode_json(ROUTINE_HEAD, &StoredRoutine { format: ROUTINE_FORMAT, routine })
}

pub(super) fn decode(value: Bytes) -> Result<Routine> {
    let stored: StoredRoutine<Routine> = decode_json(ROUTINE_HEAD, value)?;
    if stored.format > ROUTINE_FORMAT {
        Err(Error::internal(format!(
            "format {} is newer than this version's {ROUTINE_FORMAT}",
            stored.format
        )))
    } else {
        Ok(stored.routine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_of_a_function_is_read_again() {
        let argument = |name: &str, sql_type| Argument { name: Some(name.to_owned()), sql_type };
        let routine = Routine {
            id: RelationId(7),
            name: "f".to_owned(),
            arguments: vec![argument("a", SqlType::Int), argument("B", SqlType::Text)],
            returns: SqlType::Decimal(None),
            kind: RoutineKind::Function(FunctionDef {
                expr: "a + 1".to_owned(),
                body: BodyText::Text("SELECT a + 1".to_owned()),
                strict: true,
                stability: Stability::Volatile,
            }),
            depends_on: vec![RelationId(3)],
            created_ms: 5,
        };
        assert_eq!(decode(encode(&routine).unwrap()).unwrap(), routine);
        assert_eq!(routine.signature(), "f(integer,text)");
        assert_eq!(routine.declared_arguments(), "a integer, \"B\" text");
    }
}
