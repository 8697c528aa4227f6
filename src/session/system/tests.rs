//! What psql asks is answered.
