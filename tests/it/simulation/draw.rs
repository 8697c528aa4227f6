//! What is done next, drawn from the seed.

use tidemill::clock::Clock;
use tidemill::exec::view::handle::Phase;
use tidemill::store::faulty::Fault;

use super::run::{Change, Life, Pending, Told};
use super::shapes::{Over, SHAPES, Shape};
use super::world::{Base, Stream, Version, View};
use crate::oracle::case::{GROWING, KEYS, Random, SECOND, WINDOWS, Write, row};
use crate::oracle::rows::{self, Row, Window};

/// What can be done, and how often of a hundred times.
const STEPS: &[(u32, Step)] = &[
    (28, Step::Insert),
    (6, Step::Copy),
    (8, Step::Transaction),
    (6, Step::Advance),
    (7, Step::Table),
    (6, Step::Both),
    (12, Step::Create),
    (2, Step::Drop),
    (4, Step::Pause),
    (5, Step::Resume),
    (4, Step::Subscribe),
    (7, Step::Check),
    (3, Step::Time),
    (2, Step::Stop),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Insert,
    Copy,
    Transaction,
    Advance,
    Table,
    /// Two sessions write at once.
    Both,
    Create,
    Drop,
    Pause,
    Resume,
    Subscribe,
    Check,
    Time,
    Stop,
}

const VIEWS: usize = 5;

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Life<'_> {
    /// The streams, the table and the first view; nothing goes wrong yet.
    pub async fn define(&mut self) {
        let streams = self.run.random.range(1, 3);
        for number in 0..streams {
            let delay = self.run.random.pick(&[0, 2 * SECOND, 5 * SECOND]);
            let name = format!("s{number}");
            let sql = format!(
                "CREATE STREAM {name} (id BIGINT NOT NULL, k TEXT, g INT, v BIGINT, x DOUBLE PRECISION, b BOOLEAN, \
                 ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '{} seconds')",
                delay / SECOND
            );
            self.must(&sql, None).await;
            self.run.world.streams.push(Stream { name, delay, writes: Vec::new() });
        }
        self.must("CREATE TABLE d (k TEXT PRIMARY KEY, name TEXT, f INT NOT NULL)", None).await;
        self.create().await;
    }

    /// Does one thing; true: the server is to be stopped.
    pub async fn step(&mut self) -> bool {
        if self.run.random.one_in(3) {
            self.arm();
        }
        let mut at = self.run.random.range(0, 100) as u32;
        let chosen = STEPS.iter().find(|(weight, _)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let step = chosen.map_or(Step::Insert, |(_, step)| *step);
        // None says that the process is gone, which whoever calls this sees, too.
        let _ = self.take(step).await;
        // How many commits an epoch has, and what happens beside it.
        match self.run.random.range(0, 4) {
            0 | 1 => self.run.clock.settled().await,
            2 => {
                for _ in 0..self.run.random.range(1, 30) {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        step == Step::Stop
    }

    async fn take(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Insert | Step::Copy | Step::Transaction => self.write(step).await,
            Step::Advance => {
                let stream = self.any_stream();
                let to = self.run.event_time - self.run.random.range(0, 20) * SECOND;
                let change = self.advance(stream, to);
                self.change(change).await
            }
            Step::Table => {
                let mut change = Change::default();
                self.table_change(&mut change).await?;
                self.change(change).await
            }
            Step::Both => self.both().await,
            Step::Create => self.create().await,
            Step::Drop => match self.any_view() {
                Some(name) => self.drop_view(&name).await,
                None => Some(()),
            },
            Step::Pause => self.pause().await,
            Step::Resume => self.resume().await,
            Step::Subscribe => match self.any_view() {
                // Of a stream there are only rows to come, and none that are there.
                Some(name)
                    if !self.subscribers.contains_key(&name) && self.kind(&name) != "STREAM" =>
                {
                    self.run.seen.remove(&name);
                    self.subscribe(&name).await
                }
                _ => Some(()),
            },
            Step::Check => match self.any_view() {
                Some(name) => self.check_view(&name).await.map(|_| ()),
                None => self.check_all().await,
            },
            Step::Time => {
                let ms = self.run.random.pick(&[1, 30, 1_200, 5_000]);
                self.pass_time(ms).await;
                Some(())
            }
            Step::Stop => Some(()),
        }
    }

    fn any_stream(&mut self) -> usize {
        self.run.random.range(0, self.run.world.streams.len() as i64) as usize
    }

    fn any_view(&mut self) -> Option<String> {
        let names = self.names();
        let at = self.run.random.range(0, names.len().max(1) as i64) as usize;
        names.get(at).cloned()
    }

    fn drawn_rows(&mut self) -> Vec<Row> {
        let run = &mut *self.run;
        (0..run.random.range(1, 7))
            .map(|_| {
                run.rows_made += 1;
                run.event_time += run.random.range(0, 3 * SECOND);
                let ts = run.event_time - run.random.range(0, 9 * SECOND);
                row(&mut run.random, run.rows_made, ts)
            })
            .collect()
    }

    fn insert(&self, stream: usize, rows: &[Row]) -> String {
        let values: Vec<String> = rows.iter().map(Row::values).collect();
        format!("INSERT INTO {} VALUES {}", self.run.world.streams[stream].name, values.join(", "))
    }

    async fn write(&mut self, step: Step) -> Option<()> {
        let stream = self.any_stream();
        let mut change = Change::default();
        match step {
            Step::Transaction => {
                let mut by_stream: Vec<Vec<Vec<Row>>> =
                    vec![Vec::new(); self.run.world.streams.len()];
                if self.run.random.one_in(3) {
                    self.table_change(&mut change).await?;
                }
                for _ in 0..self.run.random.range(2, 4) {
                    let (stream, rows) = (self.any_stream(), self.drawn_rows());
                    change.statements.push((self.insert(stream, &rows), None));
                    by_stream[stream].push(rows);
                }
                let writes = by_stream.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
                change.writes =
                    writes.map(|(stream, rows)| (stream, Write::Statements(rows))).collect();
            }
            Step::Copy => {
                let rows = self.drawn_rows();
                let data = rows.iter().map(Row::copy_line).collect();
                let name = &self.run.world.streams[stream].name;
                change.statements.push((format!("COPY {name} FROM STDIN"), Some(data)));
                change.writes.push((stream, Write::Copy(rows)));
            }
            _ => {
                let rows = self.drawn_rows();
                change.statements.push((self.insert(stream, &rows), None));
                change.writes.push((stream, Write::Statements(vec![rows])));
            }
        }
        self.change(change).await
    }

    pub fn advance(&self, stream: usize, to: i64) -> Change {
        let name = &self.run.world.streams[stream].name;
        let time = if to == i64::MAX {
            "'infinity'".to_owned()
        } else {
            format!("TIMESTAMP '{}'", rows::time(to))
        };
        Change {
            writes: vec![(stream, Write::Advance(to))],
            version: None,
            statements: vec![(format!("SELECT advance_watermark('{name}', {time})"), None)],
        }
    }

    /// A change of the table, unless a view that looks rows up has not read all: then nobody could
    /// say which version it saw.
    async fn table_change(&mut self, change: &mut Change) -> Option<()> {
        let joins = |view: &&View| view.shape.joins() && view.frozen.is_none();
        let names: Vec<_> =
            self.run.world.views.iter().filter(joins).map(|view| view.name.clone()).collect();
        for name in names {
            if !self.check_view(&name).await? {
                return Some(());
            }
        }
        let mut version = self.run.world.versions.last().cloned().unwrap_or_default();
        let statement = drawn_table_change(&mut self.run.random, &mut version);
        change.statements.push((statement, None));
        change.version = Some(version);
        Some(())
    }

    /// Two sessions write to one stream at once; the log says who was first.
    async fn both(&mut self) -> Option<()> {
        let stream = self.any_stream();
        let (first, second) = (self.drawn_rows(), self.drawn_rows());
        let (a, b) = (self.insert(stream, &first), self.insert(stream, &second));
        let mut other = self.engine.client().await.expect("a session");
        self.run.note(format!("{a};\n/* at once */ {b};"));
        self.look();
        self.struck.clear();
        let (done_a, done_b) = tokio::join!(biased; self.session.ask(&a), other.ask(&b));
        self.look();
        let mut writes = Vec::new();
        for (done, rows, sql) in [(done_a, first, a), (done_b, second, b)] {
            let told = match done {
                Ok(_) => Told::Done,
                Err(_) if self.is_down() => Told::Nothing,
                Err(_) if !self.struck.is_empty() => Told::Refused,
                Err(error) => self.run.fail(&format!("{sql}: {error}")),
            };
            writes.push((Write::Statements(vec![rows]), told));
        }
        self.run.pending.push(Pending::Both(stream, writes));
        if self.is_down() { None } else { self.resolve_all().await }
    }

    async fn create(&mut self) -> Option<()> {
        if self.run.world.views.len() >= VIEWS {
            return Some(());
        }
        let shape = &SHAPES[self.run.random.range(0, SHAPES.len() as i64) as usize];
        let base = match (shape.over, self.any_view()) {
            (Over::View, Some(name)) => Base::View(name),
            (Over::View, None) => return Some(()),
            (Over::Windows | Over::Bounded | Over::Passed | Over::Rows, _) => {
                Base::Stream(self.any_stream())
            }
        };
        let grows = self.run.random.one_in(4);
        let (slide, size) = self.run.random.pick(if grows { GROWING } else { WINDOWS });
        let is_windowed = shape.over == Over::Windows;
        let is_timed = is_windowed || matches!(shape.over, Over::Bounded | Over::Passed);
        let lateness = if is_timed { self.run.random.pick(&[0, 0, 3 * SECOND]) } else { 0 };
        self.run.views_made += 1;
        let on_close = shape.over == Over::Passed || is_windowed && self.run.random.one_in(2);
        let appends = on_close || matches!(shape.name, "filter" | "projection");
        let view = View {
            name: format!("v{}", self.run.views_made),
            shape,
            base,
            window: match shape.over {
                Over::Bounded | Over::Passed => {
                    Window { slide: 1, size: 1, offset: 0, grows: false }
                }
                _ => Window { slide: slide * 1_000, size: size * 1_000, offset: 0, grows },
            },
            lateness,
            on_close,
            is_stream: appends && self.run.random.one_in(3),
            pins: Default::default(),
            frozen: None,
        };
        let sql = self.definition(&view);
        match self.ask(&sql).await {
            Ok(_) => {
                self.run.used.insert(shape.name);
                // What failed to be read meanwhile may have been read for it, or what it stands on
                // has failed, and nobody has looked yet.
                let mut struck = self.struck.iter();
                let of_base =
                    matches!(&view.base, Base::View(base) if self.run.excused.contains(base));
                if of_base || struck.any(|f| matches!(f, Fault::FailRead(_) | Fault::FailScan(_))) {
                    self.run.excused.insert(view.name.clone());
                }
                self.run.world.views.push(view);
            }
            Err(_) if self.is_down() => self.run.pending.push(Pending::Create(view)),
            Err(_) if !self.struck.is_empty() => {
                if self.phase(&view.name).is_some() {
                    self.run.fail(&format!("CREATE was refused and {} is there", view.name));
                }
            }
            // What it stands on has failed, and nobody has looked yet.
            Err(_) if matches!(&view.base, Base::View(base) if self.run.excused.contains(base)) => {
            }
            Err(error) if Self::is_refusal(&error) => {}
            Err(error) => self.run.fail(&format!("{sql}: {error}")),
        }
        (!self.is_down()).then_some(())
    }

    fn definition(&self, view: &View) -> String {
        let shape: &Shape = view.shape;
        let input = match &view.base {
            Base::Stream(stream) => self.run.world.streams[*stream].name.clone(),
            Base::View(name) => name.clone(),
        };
        let Window { slide, size, grows, .. } = view.window;
        let interval = |us: i64| format!("INTERVAL '{} milliseconds'", us / 1_000);
        let window = if slide == size {
            format!("TUMBLE({input}, ts, {})", interval(size))
        } else {
            let name = if grows { "CUMULATE" } else { "HOP" };
            format!("{name}({input}, ts, {}, {})", interval(slide), interval(size))
        };
        let query = shape.sql.replace("{W}", &window).replace("{S}", &input).replace("{V}", &input);
        let sessions = format!("SESSION({input} PARTITION BY k, ts, INTERVAL '3 seconds')");
        let query = query.replace("{B}", &input).replace("{Z}", &sessions);
        let query = query.replace("{D}", "d").replace("{T}", "d").replace("{J}", "x.k = d.k");
        let with = match view.lateness {
            0 => String::new(),
            us => format!(" WITH (allowed_lateness = '{} s')", us / SECOND),
        };
        let emit = if view.on_close { " EMIT ON WINDOW CLOSE" } else { "" };
        format!("CREATE {} {}{with} AS {query}{emit}", view.kind(), view.name)
    }

    async fn pause(&mut self) -> Option<()> {
        let Some(name) = self.any_view() else { return Some(()) };
        // When it stopped is not known to the millisecond.
        let cannot = |view: &View| view.frozen.is_some() || view.shape.sql.contains("now()");
        if self.run.world.view(&name).is_none_or(cannot) || !self.check_view(&name).await? {
            return Some(());
        }
        let rows = self.run.world.answer(&name).await;
        let kind = self.kind(&name);
        match self.must(&format!("ALTER {kind} {name} PAUSE"), None).await {
            Some(true) => self.set_frozen(&name, Some(rows)),
            Some(false) => {
                if self.phase(&name) == Some(Phase::Paused) {
                    self.run.fail(&format!("PAUSE was refused and {name} is paused"));
                }
            }
            None => {
                self.run.pending.push(Pending::Pause(name, rows));
                return None;
            }
        }
        Some(())
    }

    async fn resume(&mut self) -> Option<()> {
        let paused = self.run.world.views.iter().find(|view| view.frozen.is_some());
        let Some(name) = paused.map(|view| view.name.clone()) else { return Some(()) };
        if !self.check_view(&name).await? {
            return Some(());
        }
        let kind = self.kind(&name);
        match self.must(&format!("ALTER {kind} {name} RESUME"), None).await {
            Some(true) => self.set_frozen(&name, None),
            Some(false) => {}
            None => {
                self.run.pending.push(Pending::Resume(name));
                return None;
            }
        }
        Some(())
    }

    pub fn kind(&self, name: &str) -> &'static str {
        self.run.world.view(name).map_or("MATERIALIZED VIEW", View::kind)
    }

    fn set_frozen(&mut self, name: &str, rows: Option<Vec<arrow::array::RecordBatch>>) {
        if let Some(view) = self.run.world.views.iter_mut().find(|view| view.name == name) {
            view.frozen = rows;
        }
    }
}

fn drawn_table_change(random: &mut Random, version: &mut Version) -> String {
    let (key, name, f) =
        (random.pick(KEYS), random.pick(&["red", "green", "blue"]), random.range(1, 5) as i32);
    let row = format!("({}, '{name}', {f})", quoted(key));
    match random.range(0, 5) {
        0 => {
            version.retain(|_, (_, factor)| *factor != f);
            format!("DELETE FROM d WHERE f = {f}")
        }
        1 => {
            version.values_mut().filter(|(_, factor)| *factor < f).for_each(|row| row.1 += 1);
            format!("UPDATE d SET f = f + 1 WHERE f < {f}")
        }
        2 if version.contains_key(key) => {
            version.remove(key);
            format!("DELETE FROM d WHERE k = {}", quoted(key))
        }
        _ => {
            version.insert(key.to_owned(), (name.to_owned(), f));
            format!(
                "INSERT INTO d VALUES {row} ON CONFLICT (k) DO UPDATE SET name = excluded.name, f = excluded.f"
            )
        }
    }
}
