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
    ("SELECT typname, oid::regtype::text FROM pg_type t WHERE t.oid = to_regtype('int8')", "int8|bigint"),
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
fn every_system_table_can_be_read() {
    with_client(|mut client| async move {
        let tables = [
            ("tidemill", super::tidemill::NAMES),
            ("pg_catalog", super::catalog::NAMES),
            ("information_schema", super::information::NAMES),
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
