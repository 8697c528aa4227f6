//! The figures: a table for people, or a JSON object a line.

use std::io::Write;

use serde::Serialize;

use super::measured::{Measured, text};
use crate::error::Result;

/// One query's figures, by their names in JSON.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    query: String,
    input: String,
    threads: usize,
    events: u64,
    wall_s: f64,
    cpu_s: f64,
    events_per_cpu_s: f64,
    peak_rss_mb: f64,
    output_rows: u64,
    epoch_p50_ms: f64,
    epoch_p99_ms: f64,
    #[serde(flatten)]
    batch: Option<BatchRow>,
}

/// The comparison's.
#[derive(Debug, Clone, Serialize)]
struct BatchRow {
    batch_wall_s: f64,
    batch_cpu_s: f64,
    batch_peak_rss_mb: f64,
    batch_output_rows: u64,
    /// batch_cpu_s ÷ cpu_s: above 1 the continuous query needs less.
    ratio: f64,
}

impl Row {
    pub(super) fn new(
        query: &str,
        input: &str,
        threads: usize,
        stream: &Measured,
        batch: Option<&Measured>,
    ) -> Row {
        Row {
            query: query.to_owned(),
            input: input.to_owned(),
            threads,
            events: stream.events,
            wall_s: rounded(stream.wall_s),
            cpu_s: rounded(stream.cpu_s),
            events_per_cpu_s: (stream.events as f64 / shortest(stream.cpu_s)).round(),
            peak_rss_mb: rounded(stream.peak_rss_mb),
            output_rows: stream.output_rows,
            epoch_p50_ms: rounded(stream.epoch_p50_ms),
            epoch_p99_ms: rounded(stream.epoch_p99_ms),
            batch: batch.map(|batch| BatchRow {
                batch_wall_s: rounded(batch.wall_s),
                batch_cpu_s: rounded(batch.cpu_s),
                batch_peak_rss_mb: rounded(batch.peak_rss_mb),
                batch_output_rows: batch.output_rows,
                ratio: rounded(batch.cpu_s / shortest(stream.cpu_s)),
            }),
        }
    }
}

/// To a thousandth.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

/// Less than this is no divisor: one call of the clock takes as long.
fn shortest(seconds: f64) -> f64 {
    seconds.max(1e-6)
}

/// Prints rows as they come.
pub(super) struct Report {
    is_json: bool,
    compares: bool,
    has_head: bool,
}

impl Report {
    pub(super) fn new(is_json: bool, compares: bool) -> Report {
        Report { is_json, compares, has_head: false }
    }

    /// Says what is being measured, to whoever watches.
    pub(super) fn progress(&self, query: &str) {
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            self.note(&format!("{query} …"));
        }
    }

    /// Something beside the figures.
    pub(super) fn note(&self, text: &str) {
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    pub(super) fn row(&mut self, row: &Row) -> Result<()> {
        if self.is_json {
            return print(&(text(row)? + "\n"));
        }
        let mut lines = String::new();
        if !self.has_head {
            self.has_head = true;
            lines.push_str(&head(self.compares));
        }
        lines.push_str(&format!(
            "{:<8} {:>11} {:>8.3} {:>8.3} {:>13.0} {:>8.1} {:>11} {:>8.2} {:>8.2}",
            row.query,
            row.events,
            row.wall_s,
            row.cpu_s,
            row.events_per_cpu_s,
            row.peak_rss_mb,
            row.output_rows,
            row.epoch_p50_ms,
            row.epoch_p99_ms
        ));
        if let Some(batch) = &row.batch {
            lines.push_str(&format!(
                " | {:>8.3} {:>8.3} {:>8.1} {:>11} {:>7.2}",
                batch.batch_wall_s,
                batch.batch_cpu_s,
                batch.batch_peak_rss_mb,
                batch.batch_output_rows,
                batch.ratio
            ));
        }
        print(&(lines + "\n"))
    }
}

fn head(compares: bool) -> String {
    let mut head = format!(
        "{:<8} {:>11} {:>8} {:>8} {:>13} {:>8} {:>11} {:>8} {:>8}",
        "query",
        "events",
        "wall s",
        "cpu s",
        "events/cpu s",
        "peak MB",
        "rows out",
        "p50 ms",
        "p99 ms"
    );
    if compares {
        head.push_str(&format!(
            " | {:>8} {:>8} {:>8} {:>11} {:>7}",
            "batch s", "cpu s", "peak MB", "rows out", "ratio"
        ));
    }
    head + "\n"
}

/// Writes to stdout.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_s: f64) -> Measured {
        Measured {
            events: 1_000,
            wall_s: 0.5,
            cpu_s,
            peak_rss_mb: 1.23456,
            output_rows: 7,
            net_rows: 7,
            unread: 0,
            epoch_p50_ms: 1.0,
            epoch_p99_ms: 2.0,
        }
    }

    #[test]
    fn a_line_of_json_has_the_documented_names() {
        let row = Row::new("q0", "generated", 1, &measured(0.5), Some(&measured(1.0)));
        let value: serde_json::Value = serde_json::from_str(&text(&row).unwrap()).unwrap();
        let names = "query input threads events wall_s cpu_s events_per_cpu_s peak_rss_mb output_rows epoch_p50_ms \
                     epoch_p99_ms batch_wall_s batch_cpu_s batch_output_rows ratio";
        assert!(names.split_whitespace().all(|name| value.get(name).is_some()), "{value}");
        assert_eq!(
            (value["ratio"].as_f64(), value["events_per_cpu_s"].as_f64()),
            (Some(2.0), Some(2_000.0))
        );
        let alone = text(&Row::new("q0", "generated", 1, &measured(0.5), None)).unwrap();
        assert!(!alone.contains("batch"), "{alone}");
    }
}
