//! Rows, windows and lateness in plain Rust: the part of the independent answer that is about time.
//!
//! Times are microseconds since 1970. The rule of lateness (SPEC section 5): a row is late for a
//! window when the watermark that the writes before its own had reached is at or past the window's
//! end plus the allowed lateness.

use chrono::{DateTime, NaiveDateTime};

use super::case::Write;

/// A row of the generated stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: i64,
    pub k: Option<&'static str>,
    pub g: Option<i32>,
    pub v: Option<i64>,
    pub x: Option<f64>,
    pub b: Option<bool>,
    pub ts: Option<i64>,
}

impl Row {
    /// As a tuple of VALUES.
    pub fn values(&self) -> String {
        let quoted = |text: String| format!("'{text}'");
        format!(
            "({}, {}, {}, {}, {}, {}, {})",
            self.id,
            sql(self.k.map(|k| quoted(k.replace('\'', "''")))),
            sql(self.g),
            sql(self.v),
            sql(self.x),
            sql(self.b),
            sql(self.ts.map(|ts| quoted(time(ts))))
        )
    }

    /// As a line of COPY's text format.
    pub fn copy_line(&self) -> String {
        let cells = [
            Some(self.id.to_string()),
            self.k.map(str::to_owned),
            self.g.map(|g| g.to_string()),
            self.v.map(|v| v.to_string()),
            self.x.map(|x| x.to_string()),
            self.b.map(|b| b.to_string()),
            self.ts.map(time),
        ];
        let cells: Vec<String> =
            cells.into_iter().map(|cell| cell.unwrap_or_else(|| "\\N".to_owned())).collect();
        format!("{}\n", cells.join("\t"))
    }
}

fn sql<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

/// `2024-01-01 00:00:00.5`.
pub fn time(us: i64) -> String {
    let text = DateTime::from_timestamp_micros(us).expect("in range").naive_utc();
    text.format("%Y-%m-%d %H:%M:%S%.f").to_string()
}

/// Microseconds of a time that the server wrote.
pub fn parse_time(text: &str) -> i64 {
    let text = text.trim_end_matches("+00");
    let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    parsed.unwrap_or_else(|e| panic!("{text:?} is not a time: {e}")).and_utc().timestamp_micros()
}

/// TUMBLE is a HOP whose slide is its size.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub slide: i64,
    pub size: i64,
    pub offset: i64,
    /// CUMULATE: all begin where those of the full size do, and end a slide after each other.
    pub grows: bool,
}

impl Window {
    /// The windows that contain a time, as `(start, end)`.
    pub fn containing(self, ts: i64) -> Vec<(i64, i64)> {
        if self.grows {
            let start = (ts - self.offset).div_euclid(self.size) * self.size + self.offset;
            let ends = (1..=self.size / self.slide).map(|n| start + n * self.slide);
            return ends.filter(|end| *end > ts).map(|end| (start, end)).collect();
        }
        let last = (ts - self.offset).div_euclid(self.slide) * self.slide + self.offset;
        let starts = std::iter::successors(Some(last), |start| Some(start - self.slide));
        starts
            .take_while(|start| start + self.size > ts)
            .map(|start| (start, start + self.size))
            .collect()
    }
}

/// One row in one of its windows.
#[derive(Debug, Clone)]
pub struct Expanded {
    pub row: Row,
    pub start: i64,
    pub end: i64,
    pub late: bool,
}

/// Which of the rows an answer is over.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// A snapshot's: all that have arrived.
    All,
    /// A continuous query's: without those that came too late.
    OnTime,
    /// What EMIT ON WINDOW CLOSE has shown so far: on time, and in a window that is closed by now.
    Closed,
}

/// Everything written so far, as the rule of lateness sees it.
pub struct History {
    window: Window,
    delay: i64,
    lateness: i64,
    watermark: Option<i64>,
    pub rows: Vec<Row>,
    expanded: Vec<Expanded>,
    /// The rows of each write, and the watermark before it.
    writes: Vec<(Option<i64>, Vec<Row>)>,
}

impl History {
    pub fn new(window: Window, delay: i64, lateness: i64) -> Self {
        let (rows, expanded, writes) = (Vec::new(), Vec::new(), Vec::new());
        History { window, delay, lateness, watermark: None, rows, expanded, writes }
    }

    pub fn apply(&mut self, write: &Write) {
        let rows: Vec<Row> = match write {
            Write::Statements(statements) => statements.concat(),
            Write::Copy(rows) => rows.clone(),
            Write::Advance(to) => return self.watermark = self.watermark.max(Some(*to)),
        };
        let before = self.watermark;
        for row in &rows {
            let Some(ts) = row.ts else { continue };
            for (start, end) in self.window.containing(ts) {
                let late = self.closed_at(before, end);
                self.expanded.push(Expanded { row: row.clone(), start, end, late });
            }
            self.watermark = self.watermark.max(Some(ts - self.delay));
        }
        self.writes.push((before, rows.clone()));
        self.rows.extend(rows);
    }

    /// The rows in their sessions: those of a key that follow each other by less than the gap. A row
    /// is late when a session that it would be in has closed, or the one it would be alone in.
    pub fn sessions(&self, gap: i64, keep: Keep) -> Vec<Expanded> {
        let mut taken: Vec<Row> = Vec::new();
        for (before, rows) in &self.writes {
            for row in rows {
                let Some(ts) = row.ts else { continue };
                let of_key: Vec<i64> =
                    taken.iter().filter(|r| r.k == row.k).filter_map(|r| r.ts).collect();
                let mut within = chains(of_key, gap);
                within.retain(|(first, last)| first - gap < ts && ts < last + gap);
                let is_closed = |end: i64| self.closed_at(*before, end);
                let late = within.iter().any(|(_, last)| is_closed(last + gap))
                    || within.is_empty() && is_closed(ts + gap);
                if matches!(keep, Keep::All) || !late {
                    taken.push(row.clone());
                }
            }
        }
        let session = |row: &Row| {
            let ts = row.ts.expect("it has one");
            let of_key = taken.iter().filter(|r| r.k == row.k).filter_map(|r| r.ts).collect();
            let chains = chains(of_key, gap);
            let own = chains.into_iter().find(|(first, last)| (*first..=*last).contains(&ts));
            let (start, last) = own.expect("it is in one");
            Expanded { row: row.clone(), start, end: last + gap, late: false }
        };
        let mut all: Vec<Expanded> = taken.iter().map(session).collect();
        if matches!(keep, Keep::Closed) {
            all.retain(|row| self.closed_at(self.watermark, row.end));
        }
        all
    }

    fn closed_at(&self, watermark: Option<i64>, end: i64) -> bool {
        watermark.is_some_and(|watermark| watermark >= end + self.lateness)
    }

    pub fn expanded(&self, keep: Keep) -> Vec<&Expanded> {
        let wanted = |row: &&Expanded| match keep {
            Keep::All => true,
            Keep::OnTime => !row.late,
            Keep::Closed => !row.late && self.closed_at(self.watermark, row.end),
        };
        self.expanded.iter().filter(wanted).collect()
    }

    /// Where the watermark is; None before the first row.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }
}

/// Where stretches of times begin and end of which each is less than `gap` from the one before.
fn chains(mut times: Vec<i64>, gap: i64) -> Vec<(i64, i64)> {
    times.sort_unstable();
    let mut chains: Vec<(i64, i64)> = Vec::new();
    for time in times {
        match chains.last_mut() {
            Some((_, last)) if time - *last < gap => *last = time,
            _ => chains.push((time, time)),
        }
    }
    chains
}

#[test]
fn a_time_before_1970_is_in_the_windows_around_it() {
    let window = Window { slide: 3, size: 10, offset: 1, grows: false };
    assert_eq!(window.containing(-1), [(-2, 8), (-5, 5), (-8, 2)]);
    assert_eq!(window.containing(1), [(1, 11), (-2, 8), (-5, 5), (-8, 2)]);
    let window = Window { slide: 5, size: 10, offset: 1, grows: true };
    assert_eq!(window.containing(-1), [(-9, 1)]);
    assert_eq!(window.containing(2), [(1, 6), (1, 11)]);
}

#[test]
fn a_row_is_late_by_the_writes_before_its_own() {
    let row = |ts| Row { id: 0, k: None, g: None, v: None, x: None, b: None, ts: Some(ts) };
    let mut history = History::new(Window { slide: 10, size: 10, offset: 0, grows: false }, 2, 0);
    history.apply(&Write::Copy(vec![row(30), row(1)]));
    assert_eq!(history.watermark(), Some(28));
    history.apply(&Write::Copy(vec![row(19), row(20)]));
    let late: Vec<bool> = history.expanded(Keep::All).iter().map(|row| row.late).collect();
    assert_eq!(late, [false, false, true, false]);
    assert_eq!(history.expanded(Keep::Closed).len(), 1);
}
