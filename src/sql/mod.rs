//! The language: text in, [`Statement`] out. The only room that parses.
//!
//! sqlparser reads queries and expressions (`dialect` says with which differences from Postgres);
//! everything around them is read here, a file for each family of statements. A statement goes
//! through four steps: the text falls into tokens and the tokens into statements (`text`), each is
//! measured before anything recurses over it (`complexity`), it is read (`parse` and the families),
//! and its queries are brought into the one form that the planner knows (`normalize`, `windows`,
//! `group_windows`).
//!
//! # The normal form of queries
//!
//! After parsing, whatever was written, the planner finds:
//!
//! - A window in FROM is `TableFactor::Table { name, args: Some(…) }` whose name is the single
//!   unquoted lower-case identifier `tumble`, `hop`, `cumulate` or `session`, and whose arguments
//!   are all unnamed expressions:
//!
//!   | name | 0 | 1 | 2 | 3 | then |
//!   |---|---|---|---|---|---|
//!   | tumble | `(subquery)` | time column | size | \[offset\] | |
//!   | hop | `(subquery)` | time column | slide | size | \[offset\] |
//!   | cumulate | `(subquery)` | time column | step | size | \[offset\] |
//!   | session | `(subquery)` | time column | gap | key, key, … | |
//!
//!   Argument 0 is `Expr::Subquery`; a relation's name has become `(SELECT * FROM name)`, so that
//!   whoever walks the relations of a statement sees it. Argument 1 is `Expr::Identifier` or
//!   `Expr::CompoundIdentifier`. The rest are the expressions as written; [`interval`] reads them.
//!   The number of arguments is right. The alias is the user's, or none.
//! - Group windows (`GROUP BY TUMBLE(ts, size)`) have become windows in FROM with the relation's
//!   alias, `GROUP BY alias.window_start, alias.window_end`, and `TUMBLE_START(…)` and its like
//!   have become these columns.
//! - `FOR SYSTEM_TIME AS OF PROCTIME()` is gone: a join of a stream with a table sees the table's
//!   newest version anyway. Of another time it is a subquery over the table's versions
//!   (`system_time`).
//! - INTERVAL constants are as [`IntervalParts`] is displayed: `INTERVAL '1 day 5 seconds'`.
//! - `a ASOF JOIN b ON c` is `a JOIN b ON "asof"(c)`, with [`ASOF`] for the name of that function.
//! - `OVER w` is what WINDOW says of `w`, and WINDOW is gone (`named_windows`).
//! - Long chains of AND and of OR are balanced trees.
//! - `TABLE t` as a query is `SELECT * FROM t`. Type names in casts are Postgres'.

mod aggregates;
mod asof;
mod change;
mod comments;
mod complexity;
mod copy;
mod copy_options;
mod create;
mod cursor;
mod dialect;
mod grammar_gaps;
mod group_windows;
mod indexes;
mod interval;
mod named_windows;
mod names;
mod normalize;
mod options;
mod parse;
mod place;
mod query;
mod reader;
mod recursion;
mod refuse;
mod relations;
mod routines;
mod schemas;
mod search_path;
mod settings;
mod shadowed;
mod sinks;
mod special_calls;
mod statement;
mod system_time;
mod text;
mod ties;
mod transaction;
mod tree;
mod types;
mod visit;
mod windows;
mod with_change;
mod words;

#[cfg(test)]
mod tests;

pub use asof::{ASOF, not_after};
pub use datafusion::sql::sqlparser::ast::Query;
pub use interval::{IntervalParts, interval, interval_text};
pub use names::{RelationName, ident_name, is_byte_order, relation_name};
pub use parse::{Parsed, feeding_insert, parse, parse_expr, parse_query, parse_type};
pub use place::{NameKind, keywords, place_of};
pub use search_path::{NameUse, schemas_of, with_schemas};
pub use statement::*;
pub use system_time::{SYSTEM_TIME, versions_in, versions_of};
pub use text::essence;
pub use tree::{alias_of, column_of, function_call, text_constant};
pub use types::sql_type;
pub use visit::{visit, visit_expressions, visit_mut, visit_own_expressions, visit_relations};
pub use windows::{is_window_function, select_all};
