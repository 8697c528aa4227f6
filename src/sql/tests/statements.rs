//! Statements as Postgres and its clients send them.

use super::*;

#[test]
fn a_text_falls_into_its_statements() {
    for empty in ["", " ; ;", "-- nothing\n", "/* a /* nested */ comment */"] {
        assert!(parse(empty).unwrap().is_empty(), "{empty}");
    }
    let parsed = parse("  SELECT $2 ; -- x\n\tSELECT 'a;b' /* é */, $1 -- end\n;").unwrap();
    let texts: Vec<(&str, usize)> = parsed.iter().map(|p| (p.text.as_str(), p.params)).collect();
    assert_eq!(texts, [("SELECT $2", 2), ("SELECT 'a;b' /* é */, $1", 1)]);
    assert_eq!(parse("PREPARE p AS SELECT $1").unwrap()[0].params, 0);
}

#[test]
fn a_syntax_error_says_where() {
    fails("SELEC 1", "42601 1 syntax error at or near \"SELEC\"");
    fails("SELECT 1 FROM", "42601 14 syntax error at end of input");
    fails("SELECT 1 FROM;", "42601 14 syntax error at or near \";\"");
    fails("SELECT 1; SELECT é FROM WHERE", "42601 25 syntax error at or near \"WHERE\"");
    fails("SELECT\n  a b c\nFROM t", "42601 14 syntax error at or near \"c\"");
    fails("SELECT 'abc", "42601 8 unterminated quoted string at or near \"'abc\"");
    fails("SELECT \"abc", "42601 8 unterminated quoted identifier at or near \"\"abc\"");
    fails("SELECT 1)", "42601 9 syntax error at or near \")\"");
    fails("CREATE STREAM s (a int b)", "42601 24 syntax error at or near \"b\"");
    fails("DROP STREAM", "42601 12 syntax error at end of input");
    fails("SELECT $0", "42P02 - there is no parameter $0");
    fails("FROM t SELECT 1", "42601 1 syntax error at or near \"FROM\"");
    fails("SELECT * FROM t FOO BAR", "42601 21 syntax error at or near \"BAR\"");
}

#[test]
fn transactions_are_read_in_all_their_forms() {
    for (sql, read_only) in [
        ("BEGIN", "None"),
        ("begin work", "None"),
        ("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", "Some(true)"),
        ("START TRANSACTION READ WRITE", "Some(false)"),
        ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE", "Some(true)"),
    ] {
        check(sql, &format!("Begin {{ read_only: {read_only} }}"));
    }
    for sql in ["COMMIT", "END", "COMMIT WORK", "END TRANSACTION", "COMMIT AND NO CHAIN"] {
        check(sql, "Commit");
    }
    for sql in ["ROLLBACK", "ABORT", "ROLLBACK TRANSACTION", "ABORT WORK"] {
        check(sql, "Rollback");
    }
    check("SAVEPOINT A", "Savepoint a");
    check("ROLLBACK TO SAVEPOINT a", "RollbackTo a");
    check("ROLLBACK TRANSACTION TO a", "RollbackTo a");
    check("RELEASE a", "Release a");
    fails("COMMIT AND CHAIN", "0A000 - AND CHAIN is not supported");
}

#[test]
fn settings_are_read_in_all_their_forms() {
    let set = |name: &str, value: &str| {
        format!("SetVariable {{ scope: Session, name: {name:?}, value: Some({value:?}) }}")
    };
    check("SET x = 1", &set("x", "1"));
    check("SET X TO 'Y'", &set("x", "Y"));
    check("SET SESSION a.b TO on", &set("a.b", "on"));
    check("SET search_path TO \"$user\", public", &set("search_path", "\"$user\", public"));
    check("SET TIME ZONE 'UTC'", &set("timezone", "UTC"));
    check("SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE", &set("timezone", "+00:00"));
    check("SET NAMES 'UTF8'", &set("client_encoding", "UTF8"));
    check("SET extra_float_digits = -3", &set("extra_float_digits", "-3"));
    check("SET allowed_lateness = '10 s'", &set("allowed_lateness", "10 s"));
    check("SET LOCAL x TO DEFAULT", "SetVariable { scope: Local, name: \"x\", value: None }");
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SetTransaction { scope: Session, read_only: Some(true) }",
    );
    check(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SetTransaction { scope: Local, read_only: None }",
    );
    check("RESET ALL", "Reset(None)");
    check("RESET TIME ZONE", "Reset(Some(\"timezone\"))");
    check("SHOW TRANSACTION ISOLATION LEVEL", "ShowVariable(Some(\"transaction_isolation\"))");
    check("SHOW all", "ShowVariable(None)");
    check("SHOW Server_Version", "ShowVariable(Some(\"server_version\"))");
    check("SHOW MATERIALIZED VIEWS", "ShowRelations(MaterializedViews)");
    check("SHOW STREAMS", "ShowRelations(Streams)");
    check("SHOW CREATE MATERIALIZED VIEW v", "ShowCreate v");
    check("DESC public.v", "Describe public.v");
    check("DESCRIBE STREAM s", "Describe s");
    check("DISCARD ALL", "Discard(\"DISCARD ALL\")");
    check("VACUUM (VERBOSE) t", "Discard(\"VACUUM\")");
    check("UNLISTEN *", "Discard(\"UNLISTEN\")");
    fails("SET x", "42601 6 syntax error at end of input");
}

#[test]
fn tables_are_created() {
    check(
        "CREATE TABLE IF NOT EXISTS t (Id bigint PRIMARY KEY, \"Name\" varchar(10) NOT NULL DEFAULT 'x', n int DEFAULT 1 + 1 NOT NULL)",
        "Table t (id BigInt not null; \"Name\" Varchar(Some(10)) not null default 'x'; n Int not null default 1 + 1; key id; ) []",
    );
    check(
        "CREATE TABLE t (a int, b int, CONSTRAINT k PRIMARY KEY (a, b) NOT ENFORCED)",
        "Table t (a Int not null; b Int not null; key a,b; ) []",
    );
    check("CREATE TABLE t AS SELECT 1 AS a", "TableAs t false () SELECT 1 AS a Yes");
    check(
        "CREATE TABLE t (A) AS SELECT * FROM s WITH NO DATA",
        "TableAs t false (a) SELECT * FROM s No",
    );
    check(
        "CREATE OR REPLACE VIEW v (a) AS SELECT 1 ;",
        "View v true false (a) SELECT 1 [SELECT 1]",
    );
    fails("CREATE TEMP TABLE t (a int)", "0A000 8 temporary relations are not supported");
    fails(
        "CREATE TABLE t (a SERIAL)",
        "0A000 19 type \"serial\" is not supported: there are no sequences",
    );
    fails(
        "CREATE TABLE t (a int REFERENCES u (a))",
        "0A000 23 REFERENCES constraints are not supported",
    );
    fails(
        "CREATE TABLE t (a int, UNIQUE NULLS NOT DISTINCT (a))",
        "0A000 24 UNIQUE NULLS NOT DISTINCT is not supported",
    );
    fails(
        "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES u (a))",
        "0A000 24 FOREIGN KEY constraints are not supported",
    );
    fails(
        "CREATE TABLE t (a int PRIMARY KEY, b int PRIMARY KEY)",
        "42601 42 multiple primary keys for table \"t\" are not allowed",
    );
    fails("CREATE TABLE t (a tinyint)", "42704 19 type \"tinyint\" does not exist");
    fails(
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY)",
        "0A000 23 identity columns are not supported: there are no sequences",
    );
    fails("CREATE UNIQUE INDEX i ON t (a)", "0A000 8 CREATE UNIQUE INDEX is not supported");
    fails(
        "CREATE EXTERNAL TABLE t (a int) STORED AS CSV LOCATION '/etc/passwd'",
        "0A000 8 CREATE EXTERNAL TABLE is not supported",
    );
    fails(
        "CREATE SCHEMA x CREATE TABLE t (a INT)",
        "0A000 17 what is made in a schema along with it is not supported",
    );
    fails("CREATE USER u", "0A000 8 CREATE USER is not supported");
    fails("LOCK TABLE t", "0A000 - LOCK is not supported");
    fails("NOTIFY x", "0A000 - NOTIFY is not supported");
    fails("GRANT SELECT ON t TO u", "0A000 - GRANT is not supported");
    fails("ALTER TABLE t ADD COLUMN a int", "0A000 - ALTER … ADD is not supported");
    fails("DROP SEQUENCE i", "0A000 - DROP SEQUENCE is not supported");
}

#[test]
fn tables_are_changed() {
    check(
        "INSERT INTO t (a, b) VALUES (1, 'x'), ($1, DEFAULT)",
        "INSERT INTO t (a, b) VALUES (1, 'x'), ($1, DEFAULT)",
    );
    check(
        "INSERT INTO t SELECT * FROM u ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b RETURNING *",
        "INSERT INTO t SELECT * FROM u ON CONFLICT(a) DO UPDATE SET b = EXCLUDED.b RETURNING *",
    );
    check(
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
    );
    check("INSERT INTO t DEFAULT VALUES", "INSERT INTO t DEFAULT VALUES");
    check(
        "UPDATE t SET a = a + 1 WHERE b = 'x' RETURNING a",
        "UPDATE t SET a = a + 1 WHERE b = 'x' RETURNING a",
    );
    check("DELETE FROM t WHERE a = 1", "DELETE FROM t WHERE a = 1");
    check("TRUNCATE TABLE t, u", "Truncate t,u");
    check("DROP TABLE IF EXISTS a, public.b CASCADE", "Drop Table true a,public.b Cascade");
    check("DROP SOURCE s", "Drop Stream false s Restrict");
    check("ALTER STREAM s RENAME TO T", "Rename Stream s t");
    check("ALTER MATERIALIZED VIEW v PAUSE", "Pause MaterializedView v");
    assert!(matches!(
        &parse("INSERT INTO t SELECT * FROM s EMIT CHANGES").unwrap()[0].statement,
        Statement::InsertEmitting(_)
    ));
    fails("UPDATE t SET a = 1 EMIT CHANGES", "42601 20 syntax error at or near \"EMIT\"");
    check(
        "WITH x AS (SELECT 1 AS a) UPDATE t SET b = (SELECT a FROM x) FROM x y WHERE t.a = y.a",
        "UPDATE t SET b = (WITH x AS (SELECT 1 AS a) SELECT a FROM x) FROM (WITH x AS (SELECT 1 AS a) SELECT * FROM x) y WHERE t.a = y.a",
    );
    fails(
        "SELECT * FROM (WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x) AS y",
        "0A000 - statements that write are not supported in a query",
    );
}

#[test]
fn copy_takes_both_syntaxes() {
    let csv = |rest: &str| format!("CopyOptions {{ format: Csv, delimiter: {rest} }}");
    check(
        "COPY t (A, b) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', QUOTE '''', ESCAPE '\\', FORCE_NOT_NULL (a), ENCODING 'UTF8')",
        &format!(
            "CopyFrom t(a,b) {}",
            csv(
                "59, null: \"x\", header: On, quote: 39, escape: 92, force_quote: None, force_not_null: Some(Some([\"a\"])), force_null: None"
            )
        ),
    );
    check(
        "COPY t FROM STDIN WITH CSV HEADER DELIMITER AS ','",
        &format!(
            "CopyFrom t() {}",
            csv(
                "44, null: \"\", header: On, quote: 34, escape: 34, force_quote: None, force_not_null: None, force_null: None"
            )
        ),
    );
    check(
        "COPY (SELECT 1) TO STDOUT (FORMAT csv, FORCE_QUOTE *)",
        &format!(
            "CopyTo SELECT 1 {}",
            csv(
                "44, null: \"\", header: Off, quote: 34, escape: 34, force_quote: Some(All), force_not_null: None, force_null: None"
            )
        ),
    );
    let text = "CopyOptions { format: Text, delimiter: 9, null: \"\\\\N\", header: Off, quote: 34, escape: 34, force_quote: None, force_not_null: None, force_null: None }";
    check("COPY public.t TO STDOUT", &format!("CopyTo public.t() {text}"));
    check("copy t from stdin binary", &format!("CopyFrom t() {}", text.replace("Text", "Binary")));
    check("COPY BINARY t FROM STDIN", &format!("CopyFrom t() {}", text.replace("Text", "Binary")));
    fails("COPY t FROM '/etc/passwd'", "42501 13 COPY does not read or write files of the server");
    fails("COPY t TO PROGRAM 'rm'", "42501 11 COPY does not run programs on the server");
    fails("COPY t FROM STDIN (FORMAT xml)", "22023 20 COPY format \"xml\" not recognized");
    fails(
        "COPY t FROM STDIN (FORMAT csv, FORMAT csv)",
        "42601 32 conflicting or redundant options",
    );
    fails("COPY t FROM STDIN (FOO 1)", "42601 20 option \"foo\" not recognized");
    fails(
        "COPY t FROM STDIN (FORMAT binary, DELIMITER ',')",
        "42601 - cannot specify DELIMITER in BINARY mode",
    );
    fails(
        "COPY t FROM STDIN (DELIMITER ',,')",
        "0A000 - COPY delimiter must be a single one-byte character",
    );
    fails("COPY t FROM STDIN (QUOTE 'x')", "0A000 - COPY QUOTE requires CSV mode");
    fails(
        "COPY t FROM STDIN (FORMAT csv, DELIMITER '\"')",
        "22023 - COPY delimiter and quote must be different",
    );
    fails(
        "COPY t FROM STDIN (FORMAT csv, FORCE_QUOTE *)",
        "0A000 - COPY FORCE_QUOTE cannot be used with COPY FROM",
    );
}

#[test]
fn cursors_and_prepared_statements_are_read() {
    check(
        "DECLARE _psql_cursor NO SCROLL CURSOR FOR\nSELECT 1",
        "Declare _psql_cursor binary=false hold=false SELECT 1",
    );
    check(
        "DECLARE c BINARY INSENSITIVE CURSOR WITH HOLD FOR SELECT 1",
        "Declare c binary=true hold=true SELECT 1",
    );
    check("FETCH FORWARD 10 FROM C", "Fetch c Rows(10) None");
    check("FETCH c", "Fetch c Rows(1) None");
    check("FETCH NEXT FROM c", "Fetch c Rows(1) None");
    check("FETCH FORWARD FROM c", "Fetch c Rows(1) None");
    check("FETCH FORWARD ALL IN c", "Fetch c All None");
    check("FETCH 5 FROM c WITH (timeout = '1 s')", "Fetch c Rows(5) Some(1s)");
    check("FETCH ALL c WITH (timeout '250 ms')", "Fetch c All Some(250ms)");
    check("MOVE 3 IN c", "Move c Rows(3)");
    check("CLOSE ALL", "Close None");
    check("PREPARE P (int, text) AS SELECT $1, $2", "Prepare p [Int, Text] SELECT $1, $2");
    check("EXECUTE p (1, 'x')", "Execute p 1, 'x'");
    check("DEALLOCATE PREPARE p", "Deallocate Some(\"p\")");
    check("DEALLOCATE ALL", "Deallocate None");
    fails("FETCH BACKWARD 1 FROM c", "0A000 7 cursors can only scan forward");
    fails("FETCH -1 FROM c", "0A000 7 cursors can only scan forward");
    fails("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000 11 cursors can only scan forward");
}

#[test]
fn queries_of_psql_are_read() {
    for sql in [
        r"SELECT n.nspname as {Q}Schema{Q} , c.relname as {Q}Name{Q},
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' END as {Q}Type{Q},
  pg_catalog.pg_get_userbyid(c.relowner) as {Q}Owner{Q}
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;",
        r"SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.~) '^(s)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;",
        r"SELECT c.relchecks, c.relkind, c.relhasindex, '', c.reltablespace,
CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, am.amname
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
WHERE c.oid = '16384';",
        r"SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
  a.attnotnull, (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
  a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16384' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;",
        r"SELECT inhparent::pg_catalog.regclass, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON c.oid = inhrelid WHERE c.oid = '1'",
        r"SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate,
       pg_catalog.array_to_string(d.datacl, E'\n') AS acl FROM pg_catalog.pg_database d ORDER BY 1;",
        r"SELECT pol.polname, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END FROM pg_catalog.pg_policy pol",
        r"SELECT oid, stxrelid::pg_catalog.regclass, 'd' = any(stxkind) AS ndist_enabled FROM pg_catalog.pg_statistic_ext WHERE stxrelid = '1' ORDER BY nsp, stxname;",
    ] {
        reads(&sql.replace("{Q}", "\""));
    }
}

#[test]
fn functions_are_read_with_their_clauses_in_any_order() {
    check(
        "CREATE FUNCTION F(A int, double precision, \"B\" varchar(3)) RETURNS numeric(10,2) \
         LANGUAGE SQL IMMUTABLE STRICT AS $$ SELECT a $$",
        "Function F false (a integer, double precision, \"B\" text) numeric \
         Text(\" SELECT a \") true Immutable",
    );
    check(
        "CREATE OR REPLACE FUNCTION public.f() RETURNS NULL ON NULL INPUT AS 'SELECT 1' COST 10 \
         STABLE PARALLEL SAFE RETURNS int",
        "Function public.f true () integer Text(\"SELECT 1\") true Stable",
    );
    check(
        "CREATE FUNCTION f(date date, timestamp with time zone) RETURNS int CALLED ON NULL INPUT \
         RETURN $1 + 1;",
        "Function f false (date date, timestamp with time zone) integer Return(\"$1 + 1\") false \
         Volatile",
    );
    for sql in [
        "CREATE FUNCTION f() RETURNS SETOF int AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS TABLE (a int) AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        "CREATE FUNCTION f(OUT a int) RETURNS int AS 'SELECT 1'",
        "CREATE FUNCTION f(a int DEFAULT 1) RETURNS int AS 'SELECT 1'",
    ] {
        assert_eq!(parse(sql).unwrap_err().state().code(), "0A000", "{sql}");
    }
    fails("CREATE FUNCTION f() AS 'SELECT 1'", "42P13 - function result type must be specified");
    fails("CREATE FUNCTION f() RETURNS int", "42P13 - no function body specified");
    fails(
        "CREATE FUNCTION f() RETURNS int STRICT STRICT AS ''",
        "42601 47 conflicting or redundant options",
    );
    fails(
        "CREATE FUNCTION f(nonsense) RETURNS int AS ''",
        "42704 19 type \"nonsense\" does not exist",
    );
}

#[test]
fn drops_of_functions_name_them_by_their_arguments() {
    check(
        "DROP FUNCTION IF EXISTS f(a int, text), g CASCADE",
        "Drop Function true fSome([Int, Text]), gNone Cascade",
    );
    check("DROP AGGREGATE a(int) RESTRICT", "Drop Aggregate false aSome([Int]) Restrict");
    check("DROP ROUTINE a()", "Drop Routine false aSome([]) Restrict");
}

#[test]
fn aggregates_are_read_with_their_options() {
    check(
        "CREATE AGGREGATE a(int, b text) (SFUNC = f, STYPE = numeric(10,2), INITCOND = -1)",
        "Aggregate a false (integer, b text) numeric Some(\"-1\") f [None, None, None]",
    );
    check(
        "CREATE OR REPLACE AGGREGATE public.a(int) (stype = int[], sfunc = f, combinefunc = c, \
         finalfunc = e, minvfunc = i, initcond = '{}', msfunc = f, mstype = int[], \
         minitcond = '{}', parallel = safe, sspace = 10)",
        "Aggregate public.a true (integer) integer[] Some(\"{}\") f \
         [Some(\"c\"), Some(\"e\"), Some(\"i\")]",
    );
    for sql in [
        "CREATE AGGREGATE a(*) (SFUNC = f, STYPE = int)",
        "CREATE AGGREGATE a() (SFUNC = f, STYPE = int)",
        "CREATE AGGREGATE a(int) (SFUNC = f, STYPE = int, MSFUNC = g)",
        "CREATE AGGREGATE a(int) (SFUNC = f, STYPE = int, SERIALFUNC = g)",
        "CREATE AGGREGATE a(int) (SFUNC = f, STYPE = int, HYPOTHETICAL)",
    ] {
        assert_eq!(parse(sql).unwrap_err().state().code(), "0A000", "{sql}");
    }
    fails(
        "CREATE AGGREGATE a(int) (SFUNC = f, SFUNC = g)",
        "42601 37 conflicting or redundant options",
    );
}
