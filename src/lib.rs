//! Tidemill: a SQL-first streaming query engine.
pub mod connect;
pub mod error;
pub mod http;
pub mod limits;
pub mod log;
pub mod plan;
pub mod session;
pub mod sql;
pub mod state;
pub mod store;
pub mod time;
pub mod types;
pub mod wire;
