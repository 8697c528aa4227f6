//! Tidemill: a SQL-first streaming query engine.
pub mod catalog;
pub mod clock;
pub mod connect;
pub mod error;
pub mod exec;
pub mod http;
pub mod limits;
pub mod log;
pub mod operators;
pub mod plan;
pub mod session;
pub mod sql;
pub mod state;
pub mod store;
pub mod time;
pub mod types;
pub mod wire;
