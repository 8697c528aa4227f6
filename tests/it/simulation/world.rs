//! What must be there: the writes that were made, and from them the answer of every view, by
//! DataFusion over finite tables.
//!
//! A row is late by the rule of SPEC section 5, which `oracle::rows` has in plain Rust. A row that
//! is looked up keeps the version of the table that was there when its view had read it (`pin`):
//! the table changes only when every view that looks up has read all.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::shapes::{Over, Shape};
use crate::oracle::batch;
use crate::oracle::case::{SECOND, Write};
use crate::oracle::rows::{History, Keep, Row, Window};

/// A stream: its writes in order.
pub struct Stream {
    pub name: String,
    pub delay: i64,
    pub writes: Vec<Write>,
}

/// One version of the table: key, name, factor.
pub type Version = BTreeMap<String, (String, i32)>;

/// A materialized view.
#[derive(Clone)]
pub struct View {
    pub name: String,
    pub shape: &'static Shape,
    pub base: Base,
    pub window: Window,
    pub lateness: i64,
    pub on_close: bool,
    /// Its rows are written to a stream of that name.
    pub is_stream: bool,
    /// The rows that it has looked up, by their ids: in which version.
    pub pins: BTreeMap<i64, usize>,
    /// PAUSEd: its rows stay these.
    pub frozen: Option<Vec<RecordBatch>>,
}

/// What a view stands on.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    Stream(usize),
    View(String),
}

pub struct World {
    pub streams: Vec<Stream>,
    pub versions: Vec<Version>,
    pub views: Vec<View>,
    /// The time at which it is asked, milliseconds since 1970.
    pub now_ms: i64,
    context: SessionContext,
}

impl View {
    /// What it is called in DROP and ALTER.
    pub fn kind(&self) -> &'static str {
        if self.is_stream { "STREAM" } else { "MATERIALIZED VIEW" }
    }
}

impl World {
    pub fn new() -> World {
        let config = SessionConfig::new().with_target_partitions(1);
        World {
            streams: Vec::new(),
            versions: vec![Version::new()],
            views: Vec::new(),
            now_ms: 0,
            context: SessionContext::new_with_config(config),
        }
    }

    pub fn view(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|view| view.name == name)
    }

    /// These views and all that stand on them.
    pub fn with_dependants(&self, name: &str) -> Vec<String> {
        let mut all = vec![name.to_owned()];
        // A view is younger than what it reads, so one pass finds all.
        for view in &self.views {
            if let Base::View(base) = &view.base
                && all.contains(base)
            {
                all.push(view.name.clone());
            }
        }
        all
    }

    pub fn forget(&mut self, names: &[String]) {
        self.views.retain(|view| !names.contains(&view.name));
    }

    pub fn rows(&self, stream: usize) -> Vec<Row> {
        self.streams[stream].writes.iter().flat_map(rows_of).collect()
    }

    /// The view has read everything that was written so far.
    pub fn has_read_all(&mut self, name: &str) {
        let last = self.versions.len() - 1;
        let Some(at) = self.views.iter().position(|view| view.name == name) else { return };
        if let Base::Stream(stream) = self.views[at].base
            && self.views[at].frozen.is_none()
            && self.views[at].shape.joins()
        {
            for row in self.rows(stream) {
                self.views[at].pins.entry(row.id).or_insert(last);
            }
        }
    }

    /// The stream's watermark, µs.
    pub fn watermark(&self, stream: usize) -> Option<i64> {
        self.history(stream, Window { slide: 1, size: 1, offset: 0, grows: false }, 0).watermark()
    }

    fn history(&self, stream: usize, window: Window, lateness: i64) -> History {
        let stream = &self.streams[stream];
        let mut history = History::new(window, stream.delay, lateness);
        stream.writes.iter().for_each(|write| history.apply(write));
        history
    }

    /// What the view must hold.
    pub async fn answer(&self, name: &str) -> Vec<RecordBatch> {
        let view = self.view(name).expect("a view of the world");
        if let Some(frozen) = &view.frozen {
            return frozen.clone();
        }
        match &view.base {
            Base::Stream(stream) => self.register_stream(view, *stream),
            Base::View(base) => {
                let batches = Box::pin(self.answer(base)).await;
                let table = MemTable::try_new(batches[0].schema(), vec![batches])
                    .expect("batches of one schema");
                self.context.deregister_table("v").expect("a catalog");
                self.context.register_table("v", Arc::new(table)).expect("a new name");
            }
        }
        let sql = view.shape.sql;
        let sql =
            sql.replace("{W}", "w").replace("{S}", "s").replace("{D}", "d").replace("{V}", "v");
        let sql = sql
            .replace("{B}", "w")
            .replace("{Z}", "z")
            .replace("{T}", "t")
            .replace("{J}", "x.k = d.k AND x.pin = d.pin")
            .replace("now()", &format!("to_timestamp_millis({})", self.now_ms));
        let work = async {
            let frame = self.context.sql(&sql).await?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let mut batches = frame.collect().await?;
            batches.push(RecordBatch::new_empty(schema.clone()));
            let same =
                |batch: RecordBatch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec());
            Ok::<_, datafusion::error::DataFusionError>(
                batches.into_iter().map(same).collect::<Result<Vec<_>, _>>()?,
            )
        };
        work.await
            .unwrap_or_else(|error| panic!("the simulation's own query is wrong: {error}\n{sql}"))
    }

    fn register_stream(&self, view: &View, stream: usize) {
        let last = self.versions.len() - 1;
        let pins = |rows: &[&Row]| -> ArrayRef {
            let pin = |row: &&Row| view.pins.get(&row.id).copied().unwrap_or(last) as i64;
            Arc::new(Int64Array::from_iter_values(rows.iter().map(pin)))
        };
        if matches!(view.shape.over, Over::Windows | Over::Bounded | Over::Passed) {
            let history = self.history(stream, view.window, view.lateness);
            let keep = if view.on_close { Keep::Closed } else { Keep::OnTime };
            let expanded = history.expanded(keep);
            let rows: Vec<&Row> = expanded.iter().map(|e| &e.row).collect();
            let mut columns = batch::in_windows(&expanded);
            columns.push(("pin", pins(&rows)));
            self.register("w", columns);
            let sessions = history.sessions(3 * SECOND, keep);
            self.register("z", batch::in_windows(&sessions.iter().collect::<Vec<_>>()));
        } else {
            let rows = self.rows(stream);
            let rows: Vec<&Row> = rows.iter().collect();
            let mut columns = batch::columns(&rows);
            columns.push(("pin", pins(&rows)));
            self.register("s", columns);
        }
        let present = self.versions.last().expect("the first is empty");
        let keys = StringArray::from_iter_values(present.keys());
        let names = StringArray::from_iter_values(present.values().map(|(name, _)| name));
        let factors = Int32Array::from_iter_values(present.values().map(|(_, f)| *f));
        let columns: [ArrayRef; 3] = [Arc::new(keys), Arc::new(names), Arc::new(factors)];
        self.register("t", ["k", "name", "f"].into_iter().zip(columns).collect());
        if view.shape.joins() {
            let all: Vec<_> = self
                .versions
                .iter()
                .enumerate()
                .flat_map(|(pin, version)| version.iter().map(move |row| (pin, row)))
                .collect();
            let all = || all.iter().copied();
            let keys = StringArray::from_iter_values(all().map(|(_, (k, _))| k));
            let names = StringArray::from_iter_values(all().map(|(_, (_, (name, _)))| name));
            let factors = Int32Array::from_iter_values(all().map(|(_, (_, (_, f)))| *f));
            let pins = Int64Array::from_iter_values(all().map(|(pin, _)| pin as i64));
            let (keys, names): (ArrayRef, ArrayRef) = (Arc::new(keys), Arc::new(names));
            self.register(
                "d",
                vec![
                    ("k", keys),
                    ("name", names),
                    ("f", Arc::new(factors)),
                    ("pin", Arc::new(pins)),
                ],
            );
        }
    }

    fn register(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        self.context.deregister_table(name).expect("a catalog");
        batch::register(&self.context, name, columns);
    }
}

/// The rows of a write.
pub fn rows_of(write: &Write) -> Vec<Row> {
    match write {
        Write::Statements(statements) => statements.concat(),
        Write::Copy(rows) => rows.clone(),
        Write::Advance(_) => Vec::new(),
    }
}

/// Rows as sorted comparable lines.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines: Vec<String> = batches.iter().flat_map(batch::lines).collect();
    lines.sort();
    lines
}
