//! What psql and drivers ask is answered.

use crate::session::write::tests::with_client;

/// Statements that must be answered, and what must be in the answer.
const ASKED: &[(&str, &str)] = &[
    (
        r#"SELECT n.nspname as "Schema", c.relname as "Name",
          CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' END as "Type",
          pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
        WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast'
              AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid)
        ORDER BY 1,2"#,
        "public|s|table|ada\npublic|t|table|ada",
    ),
    (
        r#"SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid)
        ORDER BY 2"#,
        "public|t",
    ),
    (
        r#"SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
          (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
           WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
          a.attnotnull,
          (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
           WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
          a.attidentity, a.attgenerated
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 't'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"#,
        "id|integer|NULL|true|NULL||\nname|character varying(9)|'x'|false|NULL||",
    ),
    (
        r#"SELECT r.rolname, r.rolsuper, ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m
          JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid) as memberof
        FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1"#,
        "ada|true|[]",
    ),
    (
        r#"SELECT d.datname, pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.array_to_string(d.datacl, E'\n')
        FROM pg_catalog.pg_database d ORDER BY 1"#,
        "tidemill|UTF8|NULL",
    ),
    (
        r#"SELECT p.proname, pg_catalog.pg_get_function_result(p.oid) FROM pg_catalog.pg_proc p
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname OPERATOR(pg_catalog.~) '^(advance.*)$' COLLATE pg_catalog.default
          AND pg_catalog.pg_function_is_visible(p.oid) ORDER BY 1"#,
        "advance_watermark|timestamp without time zone",
    ),
    (
        r#"SELECT n.nspname, pg_catalog.format_type(t.oid, NULL), pg_catalog.obj_description(t.oid, 'pg_type')
        FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))
          AND NOT EXISTS(SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)
          AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' AND pg_catalog.pg_type_is_visible(t.oid)
        ORDER BY 1, 2"#,
        "",
    ),
    (
        r#"SELECT c2.relname, i.indisprimary, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
          pg_catalog.pg_get_constraintdef(con.oid, true), contype
        FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
          LEFT JOIN pg_catalog.pg_constraint con
            ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
        WHERE c.oid = 't'::regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname"#,
        "t_pkey|true|CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)|PRIMARY KEY (id)|p",
    ),
    (
        r#"SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE
          pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END
        FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '16384' ORDER BY 1"#,
        "",
    ),
    (
        r#"SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
        WHERE c.oid = i.inhparent AND i.inhrelid = '16384' AND c.relkind != 'p' ORDER BY inhseqno"#,
        "",
    ),
    (
        r#"SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,
          'd' = any(stxkind) AS ndist_enabled FROM pg_catalog.pg_statistic_ext WHERE stxrelid = '16384' ORDER BY nsp, stxname"#,
        "",
    ),
    ("SELECT pg_catalog.pg_get_viewdef('v'::regclass, true)", "SELECT id FROM t"),
    (
        "SELECT typname, oid::regtype::text FROM pg_type t WHERE t.oid = to_regtype('int8')",
        "int8|bigint",
    ),
    (
        "SELECT relname FROM pg_class WHERE relkind = ANY (ARRAY['v','m'])  AND relnamespace = 'public'::regnamespace",
        "v",
    ),
    (
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "s|BASE TABLE\nt|BASE TABLE\nv|VIEW",
    ),
    (
        "SELECT columns.column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position",
        "id|integer|NO\nname|character varying|YES",
    ),
    ("SELECT name, kind, rows, watermark FROM tidemill.streams", "s|embedded log|0|NULL"),
    ("SELECT count(*) FROM tidemill.queries", "0"),
    ("SELECT value FROM tidemill.settings WHERE name = 'columns'", "1600"),
    ("SELECT 't'::regclass, 's'::regclass::text, 'pg_class'::regclass::oid", "t|s|1259"),
    ("SELECT pg_size_pretty(123456)", "121 kB"),
    (
        "SELECT current_setting('jit') AS was, set_config('jit', 'on', false) AS now, current_setting('jit') AS is",
        "off|on|on",
    ),
    (
        "SELECT set_config('my.' || x, x, false) FROM (VALUES ('a'), ('b')) AS v (x) ORDER BY x",
        "a\nb",
    ),
    (
        "SELECT current_setting('my.' || x, true) FROM (VALUES ('a'), ('c')) AS v (x) ORDER BY x",
        "a\nNULL",
    ),
    // Subqueries that are no joins.
    (
        "SELECT c.relname, ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY a.attnum DESC) \
         FROM pg_class c WHERE c.relnamespace = 2200 AND c.relkind = 'r' ORDER BY 1",
        "s|[ts]\nt|[name, id]",
    ),
    (
        "SELECT c.relname, (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > c.relnatts) \
         FROM pg_class c WHERE c.relname = 't'",
        "t|NULL",
    ),
    (
        "SELECT c.relname, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid <= c.oid AND a.attrelid >= c.oid) \
         FROM pg_class c WHERE c.relname IN ('t', 's', 'pg_class') ORDER BY 1",
        "pg_class|0\ns|1\nt|2",
    ),
    (
        "SELECT c.relname, EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid) AND c.relhasindex \
         FROM pg_class c WHERE c.relname IN ('t', 's') ORDER BY 1",
        "s|false\nt|true",
    ),
    // An outer column without the name of its relation.
    (
        "SELECT c.relname, ARRAY(SELECT n.nspname FROM pg_namespace n WHERE n.oid = relnamespace) FROM pg_class c WHERE relname = 't'",
        "t|[public]",
    ),
    (
        "SELECT i.indexrelid::regclass, (information_schema._pg_expandarray(i.indkey)).n, (information_schema._pg_expandarray(i.indkey)).x \
         FROM pg_index i",
        "t_pkey|1|1",
    ),
    (
        "SELECT (k.keys).x, (k.keys).n FROM (SELECT information_schema._pg_expandarray(i.indkey) AS keys FROM pg_index i) AS k",
        "1|1",
    ),
    ("SELECT generate_subscripts(i.indkey, 1), unnest(i.indkey) FROM pg_index i", "1|1"),
    ("SELECT t.tableoid::regclass FROM pg_catalog.pg_type t WHERE t.typname = 'int4'", "pg_type"),
    (
        "SELECT format('%s of %I is %L, %%', 1, 'a b', 'it''s'), format('%2$s%1$s', 'a', 'b')",
        "1 of \"a b\" is 'it''s', %|ba",
    ),
    ("SELECT relname FROM pg_class WHERE relname LIKE 'pg/_cla%' ESCAPE '/'", "pg_class"),
    (
        "SELECT json_build_object('a', relname, 'b', relnatts, 'c', NULL, 'd', relhasindex) FROM pg_class WHERE relname = 't'",
        r#"{"a" : "t", "b" : 2, "c" : null, "d" : true}"#,
    ),
    ("SELECT typname FROM pg_type WHERE typinput = 'pg_catalog.int4in'::regproc", "int4"),
    ("SELECT x FROM pg_catalog.unnest(ARRAY['a', 'b']) AS x WHERE x = ANY ('{b,c}'::text[])", "b"),
    (
        "SELECT s FROM generate_series(1, array_upper(current_schemas(true), 1)) AS s ORDER BY 1",
        "1\n2",
    ),
    (
        "SELECT count(*) > 0 FROM pg_get_keywords() WHERE word <> ALL ('{select,from}'::text[])",
        "true",
    ),
    (
        "SELECT 'pg_catalog.trigger'::regtype::oid, 2279::regtype::text, 551::regoperator::text",
        "2279|trigger|+(integer,integer)",
    ),
];

#[test]
fn psql_and_drivers_get_their_answers() {
    with_client(|mut client| async move {
        let make = "CREATE TABLE t (id int PRIMARY KEY, name varchar(9) DEFAULT 'x'); CREATE VIEW v AS SELECT id FROM t; \
                    CREATE STREAM s (ts timestamp, WATERMARK FOR ts)";
        client.sql(make).await.unwrap();
        let mut wrong = Vec::new();
        for (sql, expect) in ASKED {
            match client.sql(sql).await {
                Ok(got) if got == *expect => {}
                Ok(got) => wrong.push(format!("{sql}\n=> {got}\ninstead of {expect}")),
                Err(error) => wrong.push(format!("{sql}\n=> {error}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

#[test]
fn an_error_in_a_subquery_is_the_statements_error() {
    with_client(|mut client| async move {
        let check = [
            (
                "SELECT ARRAY(SELECT a.nothing FROM pg_class a WHERE a.oid < c.oid) FROM pg_class c",
                "column a.nothing does not exist",
            ),
            (
                "SELECT (SELECT a.relname FROM pg_class a WHERE a.oid < c.oid + 1) FROM pg_class c",
                "more than one row returned by a subquery used as an expression",
            ),
            (
                "SELECT (SELECT 1, 2 FROM pg_class a WHERE a.oid < c.oid) FROM pg_class c",
                "subquery must return only one column",
            ),
            ("SELECT set_config(NULL, 'x', false)", "SET requires parameter name"),
            (
                "SELECT set_config('server_version', 'x', false)",
                "parameter \"server_version\" cannot be changed",
            ),
        ];
        for (sql, expect) in check {
            match client.sql(sql).await {
                Ok(got) => panic!("{sql}\n=> {got}"),
                Err(error) => assert!(error.to_string().contains(expect), "{sql}\n=> {error}"),
            }
        }
    });
}

#[test]
fn every_system_table_can_be_read() {
    with_client(|mut client| async move {
        let tables = [
            ("tidemill", crate::session::inspect::tidemill::NAMES),
            ("pg_catalog", super::names::PG_CATALOG_TABLES),
            ("information_schema", super::names::INFORMATION_SCHEMA_TABLES),
        ];
        for (schema, names) in tables {
            for name in names {
                if let Err(error) = client.sql(&format!("SELECT * FROM {schema}.{name}")).await {
                    panic!("{schema}.{name}: {error}");
                }
            }
        }
    });
}
