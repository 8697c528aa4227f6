//! The blueprint: what a query is to do, before anything is done.
//!
//! [`Planner`] turns a query into a DataFusion plan; for a continuous query [`cut`] takes it apart into a [`Pipeline`]:
//! stateless fragment, stateful operator, stateless fragment. A snapshot stays a plan, and so do the fragments.

mod aggregate;
pub mod carry;
pub mod cut;
pub mod fragment;
mod moment;
mod pipeline;
mod planner;
pub mod relations;
mod row;
pub mod window;

pub use cut::CutOptions;
pub use fragment::Fragment;
pub use moment::Moment;
pub use pipeline::{FragmentPlan, LatenessRule, Pipeline, SourceScan, Stateful};
pub use planner::Planner;
pub use row::RowExpr;
