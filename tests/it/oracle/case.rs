//! Generates cases: a shape, a window, a delay, rows out of order, and how they are written.

use super::rows::{Row, Window};
use super::shapes::{Kind, SHAPES, Shape};

/// Splitmix64 (Steele, Lea, Flood 2014): small, and the same for ever.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `from..to`.
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        from + (self.next() % (to - from) as u64) as i64
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }
}

/// One write: what is atomic, and so not late against itself.
#[derive(Debug, Clone)]
pub enum Write {
    /// One INSERT, or a transaction of several.
    Statements(Vec<Vec<Row>>),
    /// One COPY.
    Copy(Vec<Row>),
    /// advance_watermark; no rows.
    Advance(i64),
}

/// How the window function is written.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    Short,
    Flink,
    FlinkBare,
    Named,
}

/// A generated case.
pub struct Case {
    pub seed: u64,
    pub shape: &'static Shape,
    pub window: Window,
    /// The watermark's delay, µs.
    pub delay: i64,
    /// `allowed_lateness`, µs.
    pub lateness: i64,
    pub writes: Vec<Write>,
    /// The static table: key, name, factor.
    pub dim_rows: Vec<(&'static str, Option<&'static str>, i32)>,
    /// The continuous SELECT begins before the first write, not after the last.
    pub live_first: bool,
    spelling: Spelling,
    quoted_number: bool,
    type_of_time: &'static str,
}

pub const SECOND: i64 = 1_000_000;

/// (slide, size) in ms; the first ones are TUMBLE.
pub const WINDOWS: &[(i64, i64)] = &[
    (1_000, 1_000),
    (7_000, 7_000),
    (10_000, 10_000),
    (1_500, 1_500),
    (60_000, 60_000),
    (5_000, 10_000),
    (1_000, 10_000),
    (3_000, 10_000),
    (7_000, 20_000),
    (2_500, 6_000),
    (4_000, 30_000),
    (333, 1_000),
];

/// (step, size) in ms of CUMULATE.
pub const GROWING: &[(i64, i64)] =
    &[(1_000, 10_000), (5_000, 10_000), (2_000, 6_000), (10_000, 60_000), (250, 1_000)];

impl Case {
    pub fn generate(seed: u64) -> Case {
        let mut random = Random(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0x7469_6465);
        let shape = &SHAPES[(seed % SHAPES.len() as u64) as usize];
        let grows = shape.may_grow() && seed % 5 == 3;
        let (slide, size) = match random.pick(WINDOWS) {
            _ if grows => GROWING[(seed / 5) as usize % GROWING.len()],
            drawn => drawn,
        };
        let offset =
            if shape.takes_offset() { random.pick(&[0, 0, 0, 1_000, 3_500, 250]) } else { 0 };
        let delay = random.pick(&[0, 2 * SECOND, 5 * SECOND, 1_500_000, 20 * SECOND]);
        let lateness = match shape.kind {
            Kind::Windowed | Kind::Bounded => random.pick(&[0, 0, 0, 3 * SECOND, 10 * SECOND]),
            Kind::Stateless | Kind::Running => 0,
        };
        let window = match shape.kind {
            // A row behind the watermark is late.
            Kind::Bounded => Window { slide: 1, size: 1, offset: 0, grows: false },
            Kind::Windowed | Kind::Stateless | Kind::Running => {
                Window { slide: slide * 1000, size: size * 1000, offset: offset * 1000, grows }
            }
        };
        Case {
            seed,
            shape,
            window,
            delay,
            lateness,
            dim_rows: dim_rows(&mut random),
            live_first: random.one_in(2),
            spelling: random.pick(&[
                Spelling::Short,
                Spelling::Flink,
                Spelling::FlinkBare,
                Spelling::Named,
            ]),
            quoted_number: random.one_in(2),
            type_of_time: random.pick(&["TIMESTAMP", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP(6)"]),
            writes: writes(&mut random),
        }
    }

    pub fn stream(&self) -> String {
        format!("s_{}", self.seed)
    }

    pub fn dim(&self) -> String {
        format!("d_{}", self.seed)
    }

    pub fn view(&self) -> String {
        format!("changes_{}", self.seed)
    }

    pub fn final_view(&self) -> String {
        format!("final_{}", self.seed)
    }

    /// The statements that create the stream and fill the static table.
    pub fn tables(&self) -> Vec<String> {
        let (stream, dim, ts) = (self.stream(), self.dim(), self.type_of_time);
        let watermark = match self.delay {
            0 => "WATERMARK FOR ts".to_owned(),
            delay => format!("WATERMARK FOR ts AS ts - {}", self.interval(delay)),
        };
        let columns = "id BIGINT NOT NULL, k TEXT, g INT, v BIGINT, x DOUBLE PRECISION, b BOOLEAN";
        let mut all = vec![
            format!("CREATE STREAM {stream} ({columns}, ts {ts}, {watermark})"),
            format!("CREATE TABLE {dim} (k TEXT PRIMARY KEY, name TEXT, f INT NOT NULL)"),
        ];
        if !self.dim_rows.is_empty() {
            let name = |name: Option<&str>| {
                name.map_or("NULL".to_owned(), |name| format!("'{}'", name.replace('\'', "''")))
            };
            let rows = self
                .dim_rows
                .iter()
                .map(|(k, n, f)| format!("({}, {}, {f})", name(Some(k)), name(*n)));
            all.push(format!("INSERT INTO {dim} VALUES {}", rows.collect::<Vec<_>>().join(", ")));
        }
        all
    }

    pub fn insert(&self, rows: &[Row]) -> String {
        let values: Vec<String> = rows.iter().map(Row::values).collect();
        format!(
            "INSERT INTO {} (id, k, g, v, x, b, ts) VALUES {}",
            self.stream(),
            values.join(", ")
        )
    }

    pub fn with_options(&self) -> String {
        match self.lateness {
            0 => String::new(),
            us => format!(" WITH (allowed_lateness = '{} s')", us / SECOND),
        }
    }

    /// The query as Tidemill gets it, without EMIT.
    pub fn engine_sql(&self) -> String {
        let (start, end, group) = self.group_window();
        let stream = self.stream();
        let filtered = format!("(SELECT * FROM {stream} WHERE v > 0)");
        self.shape
            .engine
            .replace("{WF}", &self.window_function(&filtered))
            .replace("{W}", &self.window_function(&stream))
            .replace("{Z}", &self.session(&stream))
            .replace("{GS}", &start)
            .replace("{GE}", &end)
            .replace("{GW}", &group)
            .replace("{S}", &stream)
            .replace("{D}", &self.dim())
    }

    /// The query as the oracle gets it.
    pub fn oracle_sql(&self) -> &'static str {
        let rows = if self.shape.kind == Kind::Bounded { "w" } else { "s" };
        match self.shape.oracle {
            // Leaked on purpose: a few hundred short strings in a test process.
            "" => {
                let sql =
                    self.shape.engine.replace("{W}", "w").replace("{Z}", "z").replace("{S}", rows);
                sql.replace("{D}", "d").leak()
            }
            oracle => oracle,
        }
    }

    fn is_tumble(&self) -> bool {
        self.window.slide == self.window.size
    }

    /// What it is called, and what its first length is.
    fn window_name(&self) -> (&'static str, &'static str) {
        match (self.window.grows, self.is_tumble()) {
            (true, _) => ("CUMULATE", "STEP"),
            (false, true) => ("TUMBLE", ""),
            (false, false) => ("HOP", "SLIDE"),
        }
    }

    fn window_function(&self, data: &str) -> String {
        let (slide, size) = (self.interval(self.window.slide), self.interval(self.window.size));
        let (name, first) = self.window_name();
        let lengths = if self.is_tumble() { size.clone() } else { format!("{slide}, {size}") };
        let offset = match self.window.offset {
            0 => String::new(),
            us => format!(", {}", self.interval(us)),
        };
        let table = if data.starts_with('(') { data.to_owned() } else { format!("TABLE {data}") };
        match self.spelling {
            Spelling::Short => format!("{name}({data}, ts, {lengths}{offset})"),
            Spelling::Flink => format!("TABLE({name}({table}, DESCRIPTOR(ts), {lengths}{offset}))"),
            Spelling::FlinkBare => format!("{name}({table}, DESCRIPTOR(ts), {lengths}{offset})"),
            Spelling::Named => {
                let slide =
                    if self.is_tumble() { String::new() } else { format!(", {first} => {slide}") };
                let offset = offset.replacen(", ", ", OFFSET => ", 1);
                format!(
                    "TABLE({name}(DATA => {table}, TIMECOL => DESCRIPTOR(ts){slide}, SIZE => {size}{offset}))"
                )
            }
        }
    }

    /// Sessions by k, a gap of three seconds.
    fn session(&self, stream: &str) -> String {
        let gap = self.interval(3 * SECOND);
        match self.spelling {
            Spelling::Short | Spelling::FlinkBare => {
                format!("SESSION({stream} PARTITION BY k, ts, {gap})")
            }
            Spelling::Flink | Spelling::Named => {
                format!("TABLE(SESSION(TABLE {stream} PARTITION BY k, DESCRIPTOR(ts), {gap}))")
            }
        }
    }

    fn group_window(&self) -> (String, String, String) {
        let (slide, size) = (self.interval(self.window.slide), self.interval(self.window.size));
        let (name, lengths) =
            if self.is_tumble() { ("TUMBLE", size) } else { ("HOP", format!("{slide}, {size}")) };
        let call = |suffix: &str| format!("{name}{suffix}(ts, {lengths})");
        (call("_START"), call("_END"), call(""))
    }

    fn interval(&self, us: i64) -> String {
        match (us % SECOND, self.quoted_number) {
            (0, true) => format!("INTERVAL '{}' SECOND", us / SECOND),
            (0, false) => format!("INTERVAL '{} seconds'", us / SECOND),
            (_, true) => format!("INTERVAL '{}' SECOND", us as f64 / SECOND as f64),
            (_, false) => format!("INTERVAL '{} milliseconds'", us / 1000),
        }
    }
}

pub const KEYS: &[&str] = &["apple", "banana", "cherry", "it's", "Zoë", ""];

fn dim_rows(random: &mut Random) -> Vec<(&'static str, Option<&'static str>, i32)> {
    let names = [Some("red"), Some("yellow"), None, Some("red"), Some("grün"), Some("blank")];
    let all = KEYS.iter().zip(names).map(|(key, name)| (*key, name));
    let mut rows = Vec::new();
    for (key, name) in all {
        if !random.one_in(3) {
            rows.push((key, name, random.range(1, 5) as i32));
        }
    }
    rows
}

fn writes(random: &mut Random) -> Vec<Write> {
    let wanted = if random.one_in(20) { 0 } else { random.range(1, 60) };
    let pace = random.pick(&[200_000, SECOND, 4 * SECOND]);
    let disorder = random.pick(&[1, 3 * SECOND, 15 * SECOND]);
    let mut now = random.pick(&[-60 * SECOND, -5 * SECOND, 0, 1_700_000_000 * SECOND]);
    let (mut made, mut writes) = (0, Vec::new());
    while made < wanted {
        if random.one_in(15) {
            writes.push(Write::Advance(now - random.range(0, 20) * SECOND));
            continue;
        }
        let mut rows = |random: &mut Random| -> Vec<Row> {
            (0..random.range(1, 8))
                .map(|_| {
                    made += 1;
                    now += random.range(0, pace);
                    let ts = now - random.range(0, disorder);
                    row(random, made, ts)
                })
                .collect()
        };
        writes.push(match random.range(0, 6) {
            0 => Write::Copy(rows(random)),
            1 => Write::Statements((0..random.range(2, 4)).map(|_| rows(random)).collect()),
            _ => Write::Statements(vec![rows(random)]),
        });
    }
    writes
}

pub fn row(random: &mut Random, id: i64, ts: i64) -> Row {
    // Times on a millisecond mostly, so that rows fall exactly on window edges, too.
    let ts = match random.range(0, 6) {
        0 => ts,
        1 | 2 => ts.div_euclid(SECOND) * SECOND,
        _ => ts.div_euclid(1000) * 1000,
    };
    Row {
        id,
        k: (!random.one_in(8)).then(|| random.pick(KEYS)),
        g: (!random.one_in(10)).then(|| random.range(-1, 3) as i32),
        v: (!random.one_in(7)).then(|| random.range(-20, 100)),
        x: (!random.one_in(9)).then(|| random.range(-400, 400) as f64 / 4.0),
        b: (!random.one_in(6)).then(|| random.one_in(2)),
        ts: (!random.one_in(14)).then_some(ts),
    }
}
