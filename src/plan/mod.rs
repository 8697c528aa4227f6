//! From SQL to pipelines.
pub mod functions;
