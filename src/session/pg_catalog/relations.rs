//! Relations as Postgres numbers and sorts them: what `pg_class` has a row for.

use std::sync::Arc;

use crate::catalog::{
    Check, Column, Kind, Names, Relation, RelationId, RelationKey, SYSTEM_SCHEMAS,
};
use crate::error::Result;
use crate::types::{SqlType, quote_name};

use super::super::transaction::SystemContext;
use super::names::{INFORMATION_SCHEMA_TABLES, PG_CATALOG_TABLES};
use crate::session::inspect::tidemill;

/// Oids of the schemas; the first two are Postgres's own.
pub(crate) const PG_CATALOG: u32 = 11;
pub(crate) const PUBLIC: u32 = 2200;
pub(crate) const INFORMATION_SCHEMA: u32 = 13_000;
pub(crate) const TIDEMILL: u32 = 13_001;

/// The oid of the one role.
pub(crate) const OWNER: u32 = 10;

/// The oid of the one database.
pub(crate) const DATABASE: u32 = 5;

/// The oid of the table of relations.
pub(crate) const PG_CLASS: u32 = 1259;

/// Oids of users' relations begin here, as in Postgres.
const FIRST: u32 = 16_384;
const KEY_INDEX: u32 = 1 << 28;
const KEY_CONSTRAINT: u32 = 1 << 29;
const CHECK_CONSTRAINT: u32 = 1 << 30;
/// How many oids a relation has for its keys, and for its constraints.
const PARTS: u32 = 1 << 10;

/// Oids of the system's relations that clients know by heart, and where the others begin.
const KNOWN: [(&str, u32); 9] = [
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", PG_CLASS),
    ("pg_database", 1262),
    ("pg_constraint", 2606),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_description", 2609),
];
const FIRST_SYSTEM: u32 = 12_000;
const FIRST_TIDEMILL: u32 = 14_000;
const FIRST_INFORMATION: u32 = 13_100;

/// The oid of `advance_watermark`.
pub(crate) const ADVANCE_WATERMARK: u32 = 15_000;

/// A relation or an index.
pub(crate) struct RelationEntry {
    pub(crate) oid: u32,
    pub(crate) name: String,
    /// The name of its schema, and its oid.
    pub(crate) schema: String,
    pub(crate) namespace: u32,
    /// `pg_class.relkind`.
    pub(crate) kind: &'static str,
    /// None for the system's own.
    pub(crate) relation: Option<Arc<Relation>>,
    /// Positions of the primary key.
    pub(crate) key: Vec<usize>,
    /// Of an index: the relation it is of.
    pub(crate) index_of: Option<u32>,
}

/// The oid of a user's relation.
pub(crate) fn oid(relation: &Relation) -> u32 {
    object_oid(relation.id)
}

/// The oid of what has this number, a relation or a function.
pub(crate) fn object_oid(id: RelationId) -> u32 {
    FIRST.saturating_add(u32::try_from(id.0).unwrap_or(u32::MAX / 4))
}

/// The oid of what a relation has several of, by its place among them.
fn part_oid(first: u32, relation: u32, at: usize) -> u32 {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    first.saturating_add(relation.saturating_mul(PARTS)).saturating_add(at)
}

/// A key of a user's relation, with the index and the constraint that there are of it.
pub(crate) struct KeyEntry {
    pub(crate) relation: Arc<Relation>,
    /// The relation's oid, and its schema's.
    pub(crate) of: u32,
    pub(crate) namespace: u32,
    /// Of the index and of the constraint.
    pub(crate) name: String,
    pub(crate) columns: Vec<usize>,
    pub(crate) is_primary: bool,
    pub(crate) index: u32,
    pub(crate) constraint: u32,
}

impl KeyEntry {
    /// The names of its columns.
    pub(crate) fn column_names(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().filter_map(|at| self.relation.columns.get(*at));
        columns.map(|column| column.name.as_str())
    }
}

fn keys_of(names: &Names, relation: &Arc<Relation>) -> Vec<KeyEntry> {
    let of = oid(relation);
    let key = |(at, key): (usize, RelationKey)| KeyEntry {
        relation: Arc::clone(relation),
        of,
        namespace: schema_oid(names, &relation.schema).unwrap_or(PUBLIC),
        name: key.constraint,
        columns: key.columns,
        is_primary: key.is_primary,
        index: part_oid(KEY_INDEX, of, at),
        constraint: part_oid(KEY_CONSTRAINT, of, at),
    };
    relation.keys().into_iter().enumerate().map(key).collect()
}

/// All keys of users' relations.
pub(crate) fn keys(cx: &SystemContext) -> Vec<KeyEntry> {
    let names = cx.engine.catalog.names();
    names.all().flat_map(|relation| keys_of(&names, relation)).collect()
}

/// The oid of a relation's CHECK, by its place among them.
pub(crate) fn check_oid(relation: u32, at: usize) -> u32 {
    part_oid(CHECK_CONSTRAINT, relation, at)
}

/// The conditions that a relation's rows satisfy.
pub(crate) fn checks(entry: &RelationEntry) -> &[Check] {
    match entry.relation.as_ref().map(|relation| &relation.kind) {
        Some(Kind::Table(table)) => &table.checks,
        _ => &[],
    }
}

/// Whether a relation is found without its schema's name.
pub(crate) fn is_visible(cx: &SystemContext, oid: i64) -> bool {
    if oid < i64::from(FIRST) {
        return oid < i64::from(INFORMATION_SCHEMA);
    }
    let path = cx.search_path();
    let entry = users(cx).into_iter().find(|entry| i64::from(entry.oid) == oid);
    entry.is_none_or(|entry| path.contains(&entry.schema))
}

/// The oid of a schema.
pub(crate) fn schema_oid(names: &Names, name: &str) -> Option<u32> {
    match name {
        "pg_catalog" => Some(PG_CATALOG),
        "public" => Some(PUBLIC),
        "information_schema" => Some(INFORMATION_SCHEMA),
        "tidemill" => Some(TIDEMILL),
        made => names.made_schema(made).map(|schema| object_oid(schema.id)),
    }
}

/// All schemas with their oids.
pub(crate) fn schemas(names: &Names) -> Vec<(u32, String)> {
    let all = names.schemas().chain(SYSTEM_SCHEMAS);
    all.filter_map(|name| Some((schema_oid(names, name)?, name.to_owned()))).collect()
}

fn user_entry(names: &Names, relation: &Arc<Relation>) -> RelationEntry {
    let kind = match &relation.kind {
        Kind::Stream(_) | Kind::Table(_) => "r",
        Kind::View { .. } => "v",
        Kind::MaterializedView(_) | Kind::Sink(_) => "m",
    };
    let key = relation.keys().into_iter().next().map_or_else(Vec::new, |key| key.columns);
    RelationEntry {
        oid: oid(relation),
        name: relation.name.clone(),
        schema: relation.schema.clone(),
        namespace: schema_oid(names, &relation.schema).unwrap_or(PUBLIC),
        kind,
        relation: Some(Arc::clone(relation)),
        key,
        index_of: None,
    }
}

/// Users' relations, each followed by the indexes of its keys.
pub(crate) fn users(cx: &SystemContext) -> Vec<RelationEntry> {
    let names = cx.engine.catalog.names();
    let mut entries = Vec::new();
    // Nothing can be read of a sink, and Postgres has nothing like it.
    for relation in names.all().filter(|relation| !matches!(relation.kind, Kind::Sink(_))) {
        let entry = user_entry(&names, relation);
        let schema = entry.schema.clone();
        entries.push(entry);
        entries.extend(keys_of(&names, relation).into_iter().map(|key| RelationEntry {
            oid: key.index,
            name: key.name,
            schema: schema.clone(),
            namespace: key.namespace,
            kind: "i",
            relation: None,
            key: key.columns,
            index_of: Some(key.of),
        }));
    }
    entries
}

fn system_oid(schema: u32, at: usize, name: &str) -> u32 {
    if let Some((_, oid)) = KNOWN.iter().find(|(known, _)| *known == name && schema == PG_CATALOG) {
        return *oid;
    }
    let first = match schema {
        TIDEMILL => FIRST_TIDEMILL,
        INFORMATION_SCHEMA => FIRST_INFORMATION,
        _ => FIRST_SYSTEM,
    };
    first + at as u32
}

/// The system's own relations.
pub(crate) fn systems() -> Vec<RelationEntry> {
    let schemas = [
        ("pg_catalog", PG_CATALOG, PG_CATALOG_TABLES),
        ("information_schema", INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES),
        ("tidemill", TIDEMILL, tidemill::NAMES),
    ];
    let entries = schemas.iter().flat_map(|(schema_name, schema, names)| {
        names.iter().enumerate().map(|(at, name)| RelationEntry {
            oid: system_oid(*schema, at, name),
            name: (*name).to_owned(),
            schema: (*schema_name).to_owned(),
            namespace: *schema,
            kind: if *schema == PG_CATALOG { "r" } else { "v" },
            relation: None,
            key: Vec::new(),
            index_of: None,
        })
    });
    entries.collect()
}

/// The columns of an entry. Those of the system's relations are told for `tidemill` only, which
/// people look at.
pub(crate) fn columns(cx: &SystemContext, entry: &RelationEntry) -> Result<Vec<Column>> {
    if let Some(relation) = &entry.relation {
        return Ok(relation.columns.clone());
    }
    if entry.namespace != TIDEMILL {
        return Ok(Vec::new());
    }
    let Some(table) = tidemill::table(cx, &entry.name)? else {
        return Ok(Vec::new());
    };
    let schema = table.schema();
    let fields = schema.fields().iter();
    Ok(fields.map(|field| Column::new(field.name(), SqlType::from_field(field))).collect())
}

/// The relation that a text names, as `'…'::regclass` reads it: a name with or without its schema,
/// or an oid.
pub(crate) fn find(cx: &SystemContext, text: &str) -> Option<u32> {
    let text = text.trim();
    if let Ok(oid) = text.parse::<u32>() {
        return Some(oid);
    }
    let name = crate::sql::parse_expr(text).ok()?;
    use datafusion::sql::sqlparser::ast::Expr;
    let parts: Vec<String> = match &name {
        Expr::Identifier(ident) => vec![crate::sql::ident_name(ident)],
        Expr::CompoundIdentifier(idents) => idents.iter().map(crate::sql::ident_name).collect(),
        _ => return None,
    };
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name),
        [schema, name] | [_, schema, name] => (Some(schema.as_str()), name),
        _ => return None,
    };
    let mut path = vec!["pg_catalog".to_owned()];
    match schema {
        Some(schema) => path = vec![schema.to_owned()],
        None => path.extend(cx.search_path()),
    }
    let entries: Vec<RelationEntry> =
        users(cx).into_iter().chain(systems()).filter(|entry| entry.name == *name).collect();
    let mut found = path.iter().filter_map(|schema| entries.iter().find(|e| e.schema == *schema));
    found.next().map(|entry| entry.oid)
}

/// The name of a relation as `oid::regclass::text` writes it.
pub(crate) fn name_of(cx: &SystemContext, oid: i64) -> Option<String> {
    let entry = users(cx).into_iter().chain(systems()).find(|entry| i64::from(entry.oid) == oid)?;
    Some(if entry.namespace == PG_CATALOG || cx.search_path().contains(&entry.schema) {
        quote_name(&entry.name)
    } else {
        format!("{}.{}", quote_name(&entry.schema), quote_name(&entry.name))
    })
}
