//! The names: streams, tables, views and functions, and what is known of each.
//!
//! A [`Catalog`] hands out immutable [`Names`] (a statement plans against one of them, whatever is
//! created or dropped meanwhile). A change is first made durable by a commit and then
//! [`Catalog::publish`]ed, so a reader never sees a name that a crash could take back. Entries are
//! stored as JSON with a version, one key per relation or function.

mod relation;
mod routine;
mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Result, SqlState, nearest};
use crate::store::codec::{decode_number, encode_number};
use crate::store::{Space, Store, WriteBatch};

pub use relation::{
    Check, Column, Connector, Emission, Kind, Relation, RelationId, RelationKey, SinkDef, SinkForm,
    StateOptions, StreamDef, TableDef, Unique, ViewDef, WatermarkSpec,
};
pub use routine::{
    AggregateDef, Argument, BodyText, CatalogObject, FunctionDef, Routine, RoutineKind, Stability,
};
pub use schema::Schema;

/// The name of the one database.
pub const DATABASE: &str = "tidemill";

/// The schema of users' relations that is always there, and the one that a name without a schema is in.
pub const SCHEMA: &str = "public";

/// The schemas in which the server shows itself.
pub const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "tidemill"];

/// Key prefix of relations in [`Space::Meta`].
const RELATION_PREFIX: &[u8] = b"relation/";

/// The key of the id that the next relation gets: the ids of dropped ones are not given again.
const NEXT_ID_KEY: &[u8] = b"next-relation";

/// The version of the stored form of a relation; 2 has a schema, 3 a query whose changes are handed
/// on.
const RELATION_FORMAT: u32 = 3;

/// The version of the record around it.
const RELATION_HEAD: u8 = 1;

/// The names as they are now; replaced as a whole by each change.
#[derive(Debug)]
pub struct Catalog {
    names: RwLock<Arc<Names>>,
}

/// All relations and functions at one moment.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Of each schema.
    by_name: BTreeMap<String, BTreeMap<String, Arc<Relation>>>,
    by_id: BTreeMap<RelationId, Arc<Relation>>,
    /// Those of one name in the order in which they were made.
    routines: BTreeMap<String, Vec<Arc<Routine>>>,
    /// Those that were made: all but `public`.
    schemas: BTreeMap<String, Arc<Schema>>,
    next_id: u64,
}

impl Catalog {
    /// Reads the catalog from the store; an entry that cannot be read is an error (XX001), never
    /// skipped.
    pub fn open(store: &dyn Store) -> Result<Catalog> {
        let next_id = match store.get(Space::Meta, NEXT_ID_KEY)? {
            Some(value) => decode_number(value, u64::from_be_bytes)
                .map_err(|error| error.context("the number of the next relation is damaged"))?,
            None => 1,
        };
        let mut names = Names { next_id, ..Names::default() };
        for entry in store.scan(Space::Meta, RELATION_PREFIX, b"relation0")? {
            let (key, value) = entry?;
            let relation = relation::decode(value).map_err(|error| damaged(&key, &error))?;
            names.put(Arc::new(relation));
        }
        for entry in store.scan(Space::Meta, schema::PREFIX, schema::END)? {
            let (key, value) = entry?;
            let schema = schema::decode(value).map_err(|error| damaged(&key, &error))?;
            names.put_schema(Arc::new(schema));
        }
        let (from, to) = routine::ROUTINES;
        for entry in store.scan(Space::Meta, from, to)? {
            let (key, value) = entry?;
            let routine = routine::decode(value).map_err(|error| damaged(&key, &error))?;
            names.put_routine(Arc::new(routine));
        }
        Ok(Catalog { names: RwLock::new(Arc::new(names)) })
    }

    /// The names now.
    pub fn names(&self) -> Arc<Names> {
        self.names.read().clone()
    }

    /// Adds the durable form of changes to a commit.
    pub fn write(&self, changes: &[NameChange], batch: &mut WriteBatch) -> Result<()> {
        changes.iter().try_for_each(|change| change.write(batch))?;
        let given = changes.iter().map(|change| match change {
            NameChange::Put(relation) => relation.id.0 + 1,
            NameChange::PutRoutine(routine) => routine.id.0 + 1,
            NameChange::PutSchema(schema) => schema.id.0 + 1,
            NameChange::Remove(_) | NameChange::RemoveRoutine(_) | NameChange::RemoveSchema(_) => 0,
        });
        let next_id = given.fold(self.names().next_id, u64::max);
        batch.put(Space::Meta, NEXT_ID_KEY, encode_number(next_id));
        Ok(())
    }

    /// Puts changes in force, all at once, that have been made durable.
    pub fn publish(&self, changes: Vec<NameChange>) {
        let mut guard = self.names.write();
        let mut names = Names::clone(&guard);
        for change in changes {
            match change {
                NameChange::Put(relation) => names.put(relation),
                NameChange::Remove(id) => names.remove(id),
                NameChange::PutRoutine(routine) => names.put_routine(routine),
                NameChange::RemoveRoutine(id) => names.remove_routine(id),
                NameChange::PutSchema(schema) => names.put_schema(schema),
                NameChange::RemoveSchema(schema) => drop(names.schemas.remove(&schema.name)),
            }
        }
        *guard = Arc::new(names);
    }
}

/// An entry that cannot be read.
fn damaged(key: &[u8], error: &Error) -> Error {
    let what = format!("catalog entry {} is damaged", String::from_utf8_lossy(key));
    Error::new(SqlState::Corrupted, what).detail(error.to_string())
}

/// A change of the names.
#[derive(Debug, Clone)]
pub enum NameChange {
    /// A new relation, or a new version of one.
    Put(Arc<Relation>),
    /// A relation is gone.
    Remove(RelationId),
    /// A new function.
    PutRoutine(Arc<Routine>),
    /// A function is gone.
    RemoveRoutine(RelationId),
    /// A new schema.
    PutSchema(Arc<Schema>),
    /// A schema is gone, and all that was in it before.
    RemoveSchema(Arc<Schema>),
}

impl NameChange {
    fn write(&self, batch: &mut WriteBatch) -> Result<()> {
        match self {
            NameChange::Put(relation) => {
                batch.put(Space::Meta, relation::key(relation.id), relation::encode(relation)?);
            }
            NameChange::Remove(id) => batch.delete(Space::Meta, relation::key(*id)),
            NameChange::PutRoutine(routine) => {
                batch.put(Space::Meta, routine::key(routine.id), routine::encode(routine)?);
            }
            NameChange::RemoveRoutine(id) => batch.delete(Space::Meta, routine::key(*id)),
            NameChange::PutSchema(schema) => {
                batch.put(Space::Meta, schema::key(schema.id), schema::encode(schema)?);
            }
            NameChange::RemoveSchema(schema) => batch.delete(Space::Meta, schema::key(schema.id)),
        }
        Ok(())
    }
}

impl Names {
    fn put(&mut self, relation: Arc<Relation>) {
        self.remove(relation.id);
        self.next_id = self.next_id.max(relation.id.0 + 1);
        self.by_id.insert(relation.id, Arc::clone(&relation));
        let named = self.by_name.entry(relation.schema.clone()).or_default();
        named.insert(relation.name.clone(), relation);
    }

    fn remove(&mut self, id: RelationId) {
        // In one publication another may have taken its name already.
        if let Some(gone) = self.by_id.remove(&id)
            && let Some(named) = self.by_name.get_mut(&gone.schema)
            && named.get(&gone.name).is_some_and(|named| named.id == id)
        {
            named.remove(&gone.name);
        }
    }

    fn put_schema(&mut self, schema: Arc<Schema>) {
        self.next_id = self.next_id.max(schema.id.0 + 1);
        self.schemas.insert(schema.name.clone(), schema);
    }

    fn put_routine(&mut self, routine: Arc<Routine>) {
        self.remove_routine(routine.id);
        self.next_id = self.next_id.max(routine.id.0 + 1);
        let named = self.routines.entry(routine.name.clone()).or_default();
        named.push(routine);
        named.sort_by_key(|routine| routine.id);
    }

    fn remove_routine(&mut self, id: RelationId) {
        self.routines.values_mut().for_each(|named| named.retain(|routine| routine.id != id));
        self.routines.retain(|_, named| !named.is_empty());
    }

    /// The relation of that name in a schema.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.by_name.get(schema)?.get(name)
    }

    /// The relation of that name in a schema, or 42P01 with the nearest name as a hint.
    pub fn get(&self, schema: &str, name: &str) -> Result<&Arc<Relation>> {
        self.find(schema, name).ok_or_else(|| self.missing(schema, name))
    }

    /// The schemas that users' relations are in, `public` first.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        std::iter::once(SCHEMA).chain(self.schemas.keys().map(String::as_str))
    }

    /// Whether users' relations can be in a schema of that name.
    pub fn has_schema(&self, name: &str) -> bool {
        name == SCHEMA || self.schemas.contains_key(name)
    }

    /// The schemas that were made: all but `public`.
    pub fn made_schemas(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.schemas.values()
    }

    /// A schema that was made.
    pub fn made_schema(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(name)
    }

    /// The relations of a schema, by name.
    pub fn in_schema(&self, name: &str) -> impl Iterator<Item = &Arc<Relation>> {
        self.by_name.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// The query that the relation of an id is an answer of: see [`Relation::query_id`].
    pub fn query_of(&self, id: RelationId) -> RelationId {
        self.by_id(id).map_or(id, |relation| relation.query_id())
    }

    /// The materialized views that are the answer of a query, or the sink that is fed by it, oldest
    /// first.
    pub fn answers_of(&self, query: RelationId) -> impl Iterator<Item = &Arc<Relation>> {
        self.by_id
            .values()
            .filter(move |relation| relation.running().is_some() && relation.query_id() == query)
    }

    /// 42P01 for a name, with the nearest existing name of its schema as a hint.
    pub fn missing(&self, schema: &str, name: &str) -> Error {
        let shown = match schema {
            SCHEMA => name.to_owned(),
            _ => format!("{schema}.{name}"),
        };
        let what = format!("relation \"{shown}\" does not exist");
        let error = Error::new(SqlState::UndefinedTable, what);
        let known = self.in_schema(schema).map(|relation| relation.name.as_str());
        match nearest(name, known) {
            Some(known) => error.hint(format!("Perhaps you meant \"{known}\".")),
            None => error,
        }
    }

    /// 3F000 for a schema, with the nearest existing one as a hint.
    pub fn missing_schema(&self, name: &str) -> Error {
        let what = format!("schema \"{name}\" does not exist");
        let error = Error::new(SqlState::UndefinedSchema, what);
        match nearest(name, self.schemas()) {
            Some(known) => error.hint(format!("Perhaps you meant \"{known}\".")),
            None => error.hint("CREATE SCHEMA makes one."),
        }
    }

    /// The relation with that id.
    pub fn by_id(&self, id: RelationId) -> Option<&Arc<Relation>> {
        self.by_id.get(&id)
    }

    /// All relations, by schema and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// The id for the next relation.
    pub fn next_id(&self) -> RelationId {
        RelationId(self.next_id)
    }

    /// The functions of that name, the oldest first.
    pub fn routines_named(&self, name: &str) -> &[Arc<Routine>] {
        self.routines.get(name).map_or(&[], Vec::as_slice)
    }

    /// The function with that id.
    pub fn routine(&self, id: RelationId) -> Option<&Arc<Routine>> {
        self.routines().find(|routine| routine.id == id)
    }

    /// Whether there are any.
    pub fn has_routines(&self) -> bool {
        !self.routines.is_empty()
    }

    /// All functions, by name.
    pub fn routines(&self) -> impl Iterator<Item = &Arc<Routine>> {
        self.routines.values().flatten()
    }

    /// What has that id.
    pub fn object(&self, id: RelationId) -> Option<CatalogObject> {
        let relation = self.by_id(id).cloned().map(CatalogObject::Relation);
        relation.or_else(|| self.routine(id).cloned().map(CatalogObject::Routine))
    }

    /// What uses `id` directly, by name.
    pub fn dependants(&self, id: RelationId) -> Vec<CatalogObject> {
        let relations = self.all().cloned().map(CatalogObject::Relation);
        let objects = relations.chain(self.routines().cloned().map(CatalogObject::Routine));
        objects.filter(|object| object.depends_on().contains(&id)).collect()
    }

    /// All that uses one of `ids` directly or through others, what is used last (the order to drop
    /// them in).
    pub fn all_dependants(&self, ids: &[RelationId]) -> Vec<CatalogObject> {
        let mut found: Vec<CatalogObject> = Vec::new();
        let mut wanted: Vec<RelationId> = ids.to_vec();
        while let Some(id) = wanted.pop() {
            for dependant in self.dependants(id) {
                found.retain(|known| known.id() != dependant.id());
                wanted.push(dependant.id());
                found.push(dependant);
            }
        }
        // One can only use older ones, so the newest go first.
        found.sort_by_key(|object| std::cmp::Reverse(object.id()));
        found.retain(|object| !ids.contains(&object.id()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_found_by_its_id_without_a_look_at_the_others() {
        let relation = Relation {
            id: RelationId(2),
            schema: SCHEMA.to_owned(),
            name: "v".to_owned(),
            columns: Vec::new(),
            kind: Kind::View { query: "SELECT 1".to_owned() },
            depends_on: Vec::new(),
            sql: String::new(),
            created_ms: 0,
            comments: BTreeMap::new(),
        };
        // What is there under an id that is not its own is found under that: no relation has been
        // asked for its id.
        let by_id = BTreeMap::from([(RelationId(1), Arc::new(relation))]);
        let by_name = by_id.values().map(|v| (v.name.clone(), Arc::clone(v))).collect();
        let by_name = BTreeMap::from([(SCHEMA.to_owned(), by_name)]);
        let names = Names { by_name, by_id, ..Names::default() };
        let found = |id: u64| names.by_id(RelationId(id)).map(|found| found.name.as_str());
        assert_eq!((found(1), found(2)), (Some("v"), None));
    }
}
