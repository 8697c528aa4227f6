//! The blueprint: what a query is to do, before anything is done.
//!
//! [`Planner`] turns a query into a DataFusion plan; for a continuous query [`cut`] takes it apart into a [`Pipeline`]:
//! stateless fragment, stateful operator, stateless fragment. A snapshot stays a plan, and so do the fragments.

mod aggregate;
mod apply;
mod binary;
pub mod carry;
mod casts;
mod correlated;
pub mod cut;
mod flatten;
mod floats;
pub mod fragment;
pub mod functions;
pub mod guard;
mod integers;
mod joinable;
mod missing;
mod moment;
pub mod naming;
mod pipeline;
mod planner;
mod portions;
pub mod relations;
mod rewrite;
mod row;
mod single_row;
mod spellings;
mod subqueries;
pub mod window;

pub use cut::CutOptions;
pub use fragment::Fragment;
pub use moment::Moment;
pub use pipeline::{FragmentPlan, LatenessRule, Pipeline, SourceScan, Stateful};
pub use planner::{DATABASE, Planner, SCHEMA};
pub use row::RowExpr;
