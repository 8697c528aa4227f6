//! What is too much is refused before anybody recurses over it; whatever is sent, nobody panics.

use super::*;

const TOO_COMPLEX: &str = "54001 - statement is too complex";

/// Test threads have a stack of 2 MiB, as the server's would have.
#[test]
fn a_statement_over_a_limit_is_refused_on_a_small_stack() {
    let ors = |n: usize| format!("SELECT * FROM t WHERE {}", vec!["a = 1"; n].join(" OR "));
    fails(&ors(5_000), TOO_COMPLEX);
    reads(&ors(3_900));
    reads(&ors(3_900).replace("OR", "AND"));
    let sum = |n: usize| format!("SELECT {}", vec!["1"; n].join("+"));
    fails(&sum(2_000), TOO_COMPLEX);
    reads(&sum(400));
    let nested = |open: &str, close: &str, n: usize| {
        format!("SELECT {}1{}", open.repeat(n), close.repeat(n))
    };
    for (open, close) in [
        ("(", ")"),
        ("abs(", ")"),
        ("(SELECT ", ")"),
        ("CASE WHEN true THEN ", " END"),
        ("NOT ", ""),
        ("- ", ""),
        ("INTERVAL ", ""),
        ("ARRAY[", "]"),
        ("(1, ", ")"),
        ("EXISTS (SELECT ", ")"),
        ("1 + (", ")"),
        ("CAST(", " AS int)"),
        ("", "::int"),
        ("", "[1]"),
        ("", " IS NULL"),
        ("", " COLLATE \"C\""),
        ("", " AT TIME ZONE 'UTC'"),
        ("1 BETWEEN 0 AND ", ""),
        ("", " BETWEEN 0 AND 1"),
        ("x = ANY (", ")"),
        ("a IN (", ")"),
        ("", " UNION SELECT 1"),
    ] {
        fails(&nested(open, close, 50_000), TOO_COMPLEX);
        match parse(&nested(open, close, 100)) {
            Ok(_) => {}
            Err(error) => assert_ne!(error.message(), "statement is too complex", "{open}…{close}"),
        }
    }
    fails(&format!("SELECT * FROM {}t{}", "(".repeat(50_000), ")".repeat(50_000)), TOO_COMPLEX);
    fails(&format!("SELECT * FROM t{}", " JOIN t ON true".repeat(50_000)), TOO_COMPLEX);
    fails(
        &format!("CREATE TABLE t (a {}int{})", "ARRAY<".repeat(50_000), ">".repeat(50_000)),
        TOO_COMPLEX,
    );
    fails(&format!("CREATE TABLE t (a int{})", "[]".repeat(50_000)), TOO_COMPLEX);
    fails(&format!("SELECT x::{}int{}", "ARRAY<".repeat(50_000), ">".repeat(50_000)), TOO_COMPLEX);
    fails(&format!("{}SELECT 1", "EXPLAIN ".repeat(50_000)), TOO_COMPLEX);
    assert_eq!(parse(&" ".repeat(17 << 20)).unwrap_err().state().code(), "54001");
}

#[test]
fn many_literals_are_not_complex() {
    reads(&format!(
        "INSERT INTO t VALUES {}",
        vec!["(1, -2, 'x', NULL, '2020-01-01'::date, now())"; 10_000].join(", ")
    ));
    reads(&format!("SELECT * FROM t WHERE a IN ({})", vec!["1"; 20_000].join(", ")));
    reads(&format!("SELECT {}", vec!["a + 1"; 1_600].join(", ")));
}

#[test]
fn a_search_that_backtracks_ends() {
    for open in
        ["(((SELECT x FROM ", "(((SELECT f(a, (b)) FROM (", "((((", "f(a => (", "(SELECT * FROM (("]
    {
        let begun = crate::clock::Stopwatch::start();
        assert!(parse(&format!("SELECT * FROM {}!", open.repeat(25))).is_err());
        assert!(begun.ms() < 20_000.0, "{open}");
    }
}

#[test]
fn a_balanced_chain_keeps_its_order() {
    let terms: Vec<String> = (0..100).map(|n| format!("a = {n}")).collect();
    let expr = parse_expr(&terms.join(" OR ")).unwrap();
    assert_eq!(expr.to_string(), terms.join(" OR "));
}

/// A small generator of our own: the same soup every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn no_soup_of_tokens_panics() {
    let words: Vec<&str> = "SELECT FROM WHERE GROUP BY ORDER LIMIT EMIT ON WINDOW CLOSE CHANGES FINAL CREATE STREAM SOURCE TABLE VIEW \
        MATERIALIZED WATERMARK FOR AS WITH ( ) , ; . * + - = => :: [ ] { } < > >> $1 $$x$$ 'text' E'\\n' \"Q\" a b ts 10 1.5 INTERVAL \
        '1' SECOND TUMBLE HOP SESSION CUMULATE TUMBLE_START DESCRIPTOR PARTITION SUBSCRIBE TO SNAPSHOT PROGRESS OF EPOCH COPY STDIN \
        STDOUT CSV HEADER FORMAT DELIMITER NULL QUOTE DECLARE CURSOR FETCH NEXT ALL FORWARD CLOSE PREPARE EXECUTE DEALLOCATE SET SHOW \
        RESET LOCAL TIME ZONE SYSTEM_TIME PROCTIME BEGIN COMMIT ROLLBACK EXPLAIN ANALYZE INSERT INTO VALUES ON CONFLICT DO UPDATE \
        RETURNING DELETE DROP IF EXISTS CASCADE ALTER RENAME int text TIMESTAMP ( 3 ) ARRAY ROW STRUCT PRIMARY KEY NOT DEFAULT GENERATED \
        ALWAYS STORED UNION JOIN LATERAL UNNEST CASE WHEN THEN ELSE END IN EXISTS BETWEEN AND OR LIKE IS COLLATE OPERATOR ! ? # @ ~ ^ & |"
        .split_whitespace()
        .collect();
    let starts = [
        "SELECT",
        "CREATE STREAM s (",
        "SUBSCRIBE",
        "COPY t",
        "DECLARE c",
        "INSERT INTO t",
        "SET",
        "EXPLAIN",
        "CREATE TABLE t",
        "",
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..6_000 {
        let mut sql = starts[random.below(starts.len())].to_owned();
        for _ in 0..random.below(14) {
            sql.push(' ');
            sql.push_str(words[random.below(words.len())]);
        }
        let _ = parse(&sql);
    }
}

#[test]
fn no_part_of_a_statement_panics() {
    let whole = "CREATE STREAM \"ü\" (a ROW(b int[], c STRUCT<d int>) NOT NULL DEFAULT 1, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' \
        SECOND) WITH ('connector' = 'file'); SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE), E'\\'' || $$x$$ FROM s FOR SYSTEM_TIME AS OF PROCTIME() AS x \
        GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE) EMIT CHANGES LIMIT 3; COPY (SUBSCRIBE TO v WITH (SNAPSHOT = false) AS OF EPOCH 3) TO STDOUT WITH (FORMAT csv); \
        SELECT * FROM TABLE(HOP(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '1' SECOND, SIZE => INTERVAL '2' SECOND)) /* end */";
    for (at, _) in whole.char_indices() {
        let _ = parse(&whole[..at]);
        let _ = parse(&whole[at..]);
    }
}
