//! Names: how an identifier folds, and what the parts of a qualified name are.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use std::sync::Arc;

use crate::catalog::{DATABASE, Names, Relation, SCHEMA, SYSTEM_SCHEMAS};
use crate::error::{Error, Result, SqlState};

/// A relation's name with its schema, folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// None: none was written.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
}

impl RelationName {
    /// Is it in the schema that is always there (written or not)?
    pub fn is_public(&self) -> bool {
        self.schema() == SCHEMA
    }

    /// Is it in a schema in which the server shows itself?
    pub fn is_of_system(&self) -> bool {
        SYSTEM_SCHEMAS.contains(&self.schema())
    }

    /// Its schema, which is `public` where none was written.
    pub fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or(SCHEMA)
    }

    /// What it stands for among the users' relations.
    pub fn find<'a>(&self, names: &'a Names) -> Option<&'a Arc<Relation>> {
        names.find(self.schema(), &self.name)
    }

    /// What it stands for among the users' relations, or 42P01 with the nearest name as a hint.
    pub fn get<'a>(&self, names: &'a Names) -> Result<&'a Arc<Relation>> {
        names.get(self.schema(), &self.name)
    }
}

/// The name an identifier stands for: in lower case unless it was quoted.
pub fn ident_name(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The identifier with its folding done: what it names is its value.
pub(super) fn folded(mut ident: Ident) -> Ident {
    if ident.quote_style.is_none() {
        ident.value = ident.value.to_lowercase();
    }
    ident
}

/// Takes `name`, `schema.name` or `tidemill.schema.name` apart. Another database is an error, as in
/// Postgres.
pub fn relation_name(name: &ObjectName) -> Result<RelationName> {
    let parts: Option<Vec<String>> =
        name.0.iter().map(|part| part.as_ident().map(ident_name)).collect();
    let parts = parts.ok_or_else(|| improper(name))?;
    match parts.as_slice() {
        [name] => Ok(RelationName { schema: None, name: name.clone() }),
        [schema, name] => Ok(RelationName { schema: Some(schema.clone()), name: name.clone() }),
        [database, schema, name] if database == DATABASE => {
            Ok(RelationName { schema: Some(schema.clone()), name: name.clone() })
        }
        [_, _, _] => Err(Error::unsupported(format!(
            "cross-database references are not implemented: \"{name}\""
        ))
        .hint(format!("There is one database, \"{DATABASE}\"."))),
        _ => Err(improper(name)),
    }
}

/// Whether texts of this collation are compared by their bytes, which is how they always are.
pub fn is_byte_order(collation: &ObjectName) -> bool {
    let name =
        collation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str());
    matches!(name, Some("C" | "POSIX" | "default" | "ucs_basic"))
}

fn improper(name: &ObjectName) -> Error {
    Error::new(SqlState::Syntax, format!("improper qualified name (too many dotted names): {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unquoted_name_folds_and_a_quoted_one_does_not() {
        assert_eq!(ident_name(&Ident::new("Orders")), "orders");
        assert_eq!(ident_name(&Ident::with_quote('"', "Orders")), "Orders");
    }

    #[test]
    fn a_name_may_carry_its_schema_and_the_database() {
        let name = |parts: &[&str]| {
            ObjectName::from(parts.iter().map(|p| Ident::new(*p)).collect::<Vec<_>>())
        };
        assert!(relation_name(&name(&["s"])).unwrap().is_public());
        assert!(relation_name(&name(&["tidemill", "Public", "s"])).unwrap().is_public());
        let catalog = relation_name(&name(&["pg_catalog", "pg_class"])).unwrap();
        assert_eq!(
            (catalog.schema.as_deref(), catalog.name.as_str()),
            (Some("pg_catalog"), "pg_class")
        );
        assert_eq!(
            relation_name(&name(&["other", "public", "s"])).unwrap_err().state(),
            SqlState::NotSupported
        );
        assert_eq!(
            relation_name(&name(&["a", "b", "c", "d"])).unwrap_err().state(),
            SqlState::Syntax
        );
    }
}
