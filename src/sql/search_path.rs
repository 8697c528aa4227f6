//! Names without a schema, where the search path looks for them elsewhere than in `public`
//! (Postgres manual, 5.9.3).
//!
//! Such a statement is given the schema before each of these names and is read again: whatever is
//! behind (plans, the text of a view that is stored, SHOW CREATE) knows names with their schemas,
//! or in `public`, and never asks for a path.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Query, TableFactor, TableObject, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::names::ident_name;
use super::statement::{
    ContinuousQuery, CopySource, CursorSource, Explain, SinkSource, Statement, Subscribe,
    SubscribeTo,
};
use super::text::TextPosition;
use super::visit::visit;

/// What a name in a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameUse {
    /// A relation is to be made.
    Made,
    /// A relation that there is.
    Read,
}

/// The schemas that a setting of `search_path` names, in order; `"$user"` is the one of the user's name.
pub fn schemas_of(path: &str, user: &str) -> Vec<String> {
    let folded = |name: &str| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some("$user") => user.to_owned(),
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    };
    path.split(',').map(|name| folded(name.trim())).filter(|name| !name.is_empty()).collect()
}

/// A statement's text with a schema before each name that `schema_of` knows one for; None: for none.
/// The statement is the one that was read from this very text.
pub fn with_schemas(
    text: &str,
    statement: &Statement,
    schema_of: &dyn Fn(&str, NameUse) -> Option<String>,
) -> Option<String> {
    let mut names = BareNames { found: Vec::new(), common: Vec::new() };
    names.of(statement);
    let mut places: Vec<(usize, String)> = names
        .found
        .iter()
        .filter_map(|(name, place, used)| {
            let schema = schema_of(name, *used)?;
            Some((TextPosition::START.forward(text, *place).byte, schema))
        })
        .collect();
    places.sort();
    places.dedup();
    if places.is_empty() {
        return None;
    }
    let mut text = text.to_owned();
    for (byte, schema) in places.into_iter().rev() {
        text.insert_str(byte, &format!("\"{}\".", schema.replace('"', "\"\"")));
    }
    Some(text)
}

/// The names of relations without a schema in a statement, and where they stand.
struct BareNames {
    found: Vec<(String, Location, NameUse)>,
    /// Of each query around: what its WITH names.
    common: Vec<Vec<String>>,
}

impl BareNames {
    fn of(&mut self, statement: &Statement) {
        match statement {
            Statement::Query(query)
            | Statement::Explain(Explain::Query { query, .. })
            | Statement::Declare { source: CursorSource::Query(query), .. } => self.query(query),
            Statement::Subscribe(subscribe)
            | Statement::Declare { source: CursorSource::Subscribe(subscribe), .. } => {
                self.subscribed(subscribe);
            }
            Statement::Insert(insert) | Statement::InsertEmitting(insert) => {
                if let TableObject::TableName(name) = &insert.table {
                    self.name(name, NameUse::Read);
                }
                self.visit(insert);
            }
            Statement::Changes(changes) => {
                for (alias, change) in &changes.named {
                    self.of(change);
                    self.common.push(vec![ident_name(&alias.name)]);
                }
                self.of(&changes.last);
                self.common.clear();
            }
            Statement::Update(update) => self.visit(update),
            Statement::Delete(delete) => self.visit(delete),
            Statement::Truncate(names) | Statement::Drop { names, .. } => {
                names.iter().for_each(|name| self.name(name, NameUse::Read));
            }
            Statement::CopyFrom(copy) => self.name(&copy.name, NameUse::Read),
            Statement::CopyTo(copy) => match &copy.source {
                CopySource::Relation { name, .. } => self.name(name, NameUse::Read),
                CopySource::Query(query) => self.query(query),
                CopySource::Subscribe(subscribe) => self.subscribed(subscribe),
            },
            Statement::CreateStream(create) | Statement::CreateTable(create) => {
                self.name(&create.name, NameUse::Made);
            }
            Statement::CreateTableAs { name, query, .. }
            | Statement::CreateView { name, query, .. } => {
                self.name(name, NameUse::Made);
                self.visit(query.as_ref());
            }
            Statement::CreateMaterializedView { name, query, .. } => {
                self.name(name, NameUse::Made);
                self.query(query);
            }
            Statement::CreateStreamAs(create) => {
                self.name(&create.name, NameUse::Made);
                self.query(&create.query);
            }
            Statement::CreateSink(create) => {
                self.name(&create.name, NameUse::Made);
                match &create.source {
                    SinkSource::Relation(name) => self.name(name, NameUse::Read),
                    SinkSource::Query(query, _) => self.query(query),
                }
            }
            Statement::CreateIndex { relation: name, .. }
            | Statement::Rename { name, .. }
            | Statement::Comment { name, .. }
            | Statement::SetRunning { name, .. }
            | Statement::ShowCreate(name)
            | Statement::Describe(name)
            | Statement::Explain(Explain::View { name, .. } | Explain::Watermark(name)) => {
                self.name(name, NameUse::Read);
            }
            Statement::Prepare { statement, .. } => self.of(statement),
            _ => {}
        }
    }

    fn subscribed(&mut self, subscribe: &Subscribe) {
        match &subscribe.what {
            SubscribeTo::Relation(name) => self.name(name, NameUse::Read),
            SubscribeTo::Query(query) => self.query(query),
        }
    }

    fn query(&mut self, query: &ContinuousQuery) {
        self.visit(query.query.as_ref());
    }

    fn visit(&mut self, tree: &impl Visit) {
        // It never breaks off.
        let _ = visit(tree, self);
    }

    fn name(&mut self, name: &ObjectName, used: NameUse) {
        if let [part] = &name.0[..]
            && let Some(ident) = part.as_ident()
        {
            self.ident(ident, used);
        }
    }

    fn ident(&mut self, ident: &Ident, used: NameUse) {
        let name = ident_name(ident);
        if ident.span.start.line > 0 && !self.common.iter().flatten().any(|known| *known == name) {
            self.found.push((name, ident.span.start, used));
        }
    }
}

impl Visitor for BareNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.push(tables.map(|table| ident_name(&table.alias.name)).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.common.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            self.name(name, NameUse::Read);
        }
        ControlFlow::Continue(())
    }
}
