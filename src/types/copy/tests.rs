//! COPY data both ways, against what Postgres 15 reads and writes.
