//! Tidemill: a SQL-first streaming query engine.
pub mod error;
pub mod limits;
pub mod log;
pub mod operators;
pub mod session;
pub mod sql;
pub mod state;
pub mod store;
pub mod time;
pub mod types;
