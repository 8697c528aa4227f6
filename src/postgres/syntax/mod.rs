//! Syntax tree to syntax tree: what Postgres writes and DataFusion's planner reads otherwise, or
//! not at all.
//!
//! | file | idea |
//! |---|---|
//! | `collected` | ARRAY over a query |
//! | [`naming`] | the names that Postgres gives to columns without one |
//! | [`numbers`] | the types of numbers as they are written |
//! | [`partial_names`] | lists of column names that are shorter than the row |
//! | [`relation_names`] | what the relations of a FROM are called |
//! | [`row_types`] | the types of the rows of VALUES |
//! | [`rows`] | rows that are compared, field by field |
//! | [`scopes`] | which columns a name without a relation may mean |
//! | [`spellings`] | operators, functions and FROM items in DataFusion's spelling |
//! | [`casts`] | casts whose target says more than DataFusion keeps of it |
//! | [`subqueries`] | EXISTS and IN as values |
//! | [`using`] | columns that become one in USING and NATURAL |
//! | [`whole_rows`] | the row of a relation as a value |
//! | `wrapped` | queries put into other queries |

pub mod casts;
mod collected;
pub mod naming;
pub mod numbers;
pub mod partial_names;
pub mod relation_names;
pub mod row_types;
pub mod rows;
pub mod scopes;
pub mod spellings;
pub mod subqueries;
pub mod using;
pub mod whole_rows;
mod wrapped;
