//! The blueprint: what a query is to do, before anything is done.
//!
//! [`Planner`] turns a query into a DataFusion plan; for a continuous query [`cut`] takes it apart
//! into a [`Pipeline`]: sources, stateless fragments, and stateful operators between them. A snapshot stays a
//! plan, and so do the fragments.

mod aggregate;
mod append_join;
mod bounds;
mod calls;
pub mod carry;
mod closing;
pub mod cut;
mod distinct_on;
mod equal_parts;
mod expiry;
mod grouping;
mod keyed;
mod keys;
mod midnight;
mod moment;
mod origin;
mod over;
mod pipeline;
pub mod placeholder;
mod planner;
mod ports;
mod reach;
mod refused;
pub mod relations;
mod row;
mod session;
mod session_windows;
mod stage;
mod temporal;
mod timed_join;
mod top;
pub mod view_versions;
mod whole_rows;
pub mod window;

pub use moment::{Moment, reads_clock};
pub use pipeline::{
    ClosingKey, FragmentPlan, Frontier, Giver, OperatorPlan, OutputTime, PerKeyPlan, Pipeline,
    SourcePlan, SourceScan, Stateful,
};
pub use planner::Planner;
pub use row::RowExpr;
pub use stage::CutOptions;
