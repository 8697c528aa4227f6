// The JDBC driver against a running Tidemill: metadata, types, server-prepared statements, COPY, a cursor over a continuous
// query, cancel, batches, transactions. Run as `java -cp postgresql.jar JdbcDriver.java` with TIDEMILL_PORT in the environment.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.TreeSet;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

public class JdbcDriver {
    static final String URL = "jdbc:postgresql://127.0.0.1:" + System.getenv("TIDEMILL_PORT") + "/tidemill?user=tester";
    static final String NAME = "jdbc_" + ProcessHandle.current().pid();
    static final String COLUMNS = "b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n DECIMAL(12,3), "
        + "t TEXT, vc VARCHAR(20), by BYTEA, d DATE, tm TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, "
        + "j JSON, jb JSONB, ai INT[], at TEXT[], r ROW(a INT, b TEXT)";
    static final int COUNT = 20;

    interface Part {
        void run(Connection connection) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        try (Connection connection = DriverManager.getConnection(URL)) {
            part("types", JdbcDriver::types, connection);
            part("metadata", JdbcDriver::metadata, connection);
            part("prepared", JdbcDriver::prepared, connection);
            part("copy", JdbcDriver::copy, connection);
            part("live", JdbcDriver::live, connection);
            part("cancel", JdbcDriver::cancel, connection);
            part("batch", JdbcDriver::batch, connection);
            part("transactions", JdbcDriver::transactions, connection);
            part("errors", JdbcDriver::errors, connection);
        }
        System.out.println("all is well");
    }

    static void part(String name, Part part, Connection connection) throws Exception {
        part.run(connection);
        System.out.println("jdbc " + name + ": ok");
    }

    static void same(Object expected, Object found) {
        boolean equal = expected instanceof byte[] bytes
            ? Arrays.equals(bytes, (byte[]) found)
            : Objects.equals(expected, found);
        if (!equal) {
            throw new AssertionError("expected <" + expected + ">, found <" + found + ">");
        }
    }

    static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static List<String> lines(ResultSet rows, String... columns) throws SQLException {
        List<String> lines = new ArrayList<>();
        while (rows.next()) {
            List<String> cells = new ArrayList<>();
            for (String column : columns) {
                cells.add(rows.getString(column));
            }
            lines.add(String.join("|", cells));
        }
        return lines;
    }

    static String value(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            same(true, rows.next());
            return rows.getString(1);
        }
    }

    static PGobject object(String type, String value) throws SQLException {
        PGobject object = new PGobject();
        object.setType(type);
        object.setValue(value);
        return object;
    }

    static Object[] row(Connection connection) throws SQLException {
        return new Object[] {
            true, (short) -5, 6, 1L << 62, 0.5f, -0.1, new BigDecimal("-12345.678"), "Zoë 'q' \\ 🦀", "short",
            new byte[] {0, (byte) 255, 92}, LocalDate.of(1969, 12, 31), LocalTime.of(23, 59, 58, 123_456_000),
            LocalDateTime.of(1969, 12, 31, 23, 59, 58, 5_000), OffsetDateTime.of(2024, 2, 29, 12, 0, 0, 0, ZoneOffset.UTC),
            new PGInterval(0, 1, 2, 3, 4, 5.5), new UUID(7, 77), object("json", "{\"a\":[1,null]}"),
            object("jsonb", "{\"b\": \"ü\"}"), connection.createArrayOf("int4", new Integer[] {1, null, -3}),
            connection.createArrayOf("text", new String[] {"a,b", "", "\"q\" \\ NULL"}),
        };
    }

    static void types(Connection connection) throws Exception {
        run(connection, "CREATE TABLE " + NAME + " (" + COLUMNS + ")");
        String places = "?, ".repeat(COUNT) + "ROW(1, 'x, \"y\"')";
        Object[] row = row(connection);
        // From the fifth execution on the statement is prepared on the server, and then values go in binary.
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + NAME + " VALUES (" + places + ")")) {
            for (int n = 0; n < 8; n++) {
                for (int at = 0; at < COUNT; at++) {
                    insert.setObject(at + 1, row[at]);
                }
                same(1, insert.executeUpdate());
            }
        }
        run(connection, "INSERT INTO " + NAME + " (t) VALUES (NULL)");
        try (PreparedStatement select = connection.prepareStatement("SELECT * FROM " + NAME + " WHERE b")) {
            for (int n = 0; n < 8; n++) {
                try (ResultSet rows = select.executeQuery()) {
                    int found = 0;
                    while (rows.next()) {
                        compare(row, rows);
                        found++;
                    }
                    same(8, found);
                }
            }
        }
        try (Statement select = connection.createStatement();
                ResultSet rows = select.executeQuery("SELECT * FROM " + NAME + " WHERE b IS NULL")) {
            same(true, rows.next());
            ResultSetMetaData columns = rows.getMetaData();
            for (int at = 1; at <= columns.getColumnCount(); at++) {
                same(null, rows.getObject(at));
            }
            same("numeric", columns.getColumnTypeName(7));
            same(12, columns.getPrecision(7));
            same(3, columns.getScale(7));
            same(20, columns.getPrecision(9));
            same(Types.ARRAY, columns.getColumnType(19));
            same(false, rows.next());
        }
    }

    static void compare(Object[] row, ResultSet rows) throws SQLException {
        Class<?>[] classes = {
            Boolean.class, Short.class, Integer.class, Long.class, Float.class, Double.class, BigDecimal.class, String.class,
            String.class, byte[].class, LocalDate.class, LocalTime.class, LocalDateTime.class, OffsetDateTime.class,
            PGInterval.class, UUID.class,
        };
        for (int at = 0; at < classes.length; at++) {
            same(row[at], classes[at] == byte[].class ? rows.getBytes(at + 1) : rows.getObject(at + 1, classes[at]));
        }
        same("{\"a\":[1,null]}", rows.getString(17));
        same("{\"b\": \"ü\"}", rows.getString(18));
        same(List.of("1", "null", "-3"), texts(rows.getArray(19)));
        same(List.of("a,b", "", "\"q\" \\ NULL"), texts(rows.getArray(20)));
        same("(1,\"x, \"\"y\"\"\")", rows.getString(21));
        same("-12345.678", rows.getString(7));
        same("1969-12-31 23:59:58.000005", rows.getString(13));
    }

    static List<String> texts(Array array) throws SQLException {
        List<String> texts = new ArrayList<>();
        for (Object item : (Object[]) array.getArray()) {
            texts.add(String.valueOf(item));
        }
        return texts;
    }

    static void metadata(Connection connection) throws Exception {
        run(connection, "CREATE TABLE " + NAME + "_keyed (b TEXT DEFAULT 'x', a INT NOT NULL, c NUMERIC(8,2), PRIMARY KEY (a, b))");
        run(connection, "CREATE VIEW " + NAME + "_view AS SELECT a FROM " + NAME + "_keyed");
        run(connection, "CREATE STREAM " + NAME + "_stream (k TEXT, ts TIMESTAMP(3), WATERMARK FOR ts)");
        run(connection, "CREATE MATERIALIZED VIEW " + NAME + "_mat AS SELECT k, count(*) AS n FROM " + NAME + "_stream GROUP BY k");
        DatabaseMetaData meta = connection.getMetaData();
        same("PostgreSQL", meta.getDatabaseProductName());
        same(true, new TreeSet<>(lines(meta.getSchemas(), "TABLE_SCHEM"))
            .containsAll(List.of("information_schema", "pg_catalog", "public", "tidemill")));
        same(List.of("tidemill"), lines(meta.getCatalogs(), "TABLE_CAT"));
        same(true, lines(meta.getTableTypes(), "TABLE_TYPE").contains("MATERIALIZED VIEW"));
        String[] types = {"TABLE", "VIEW", "MATERIALIZED VIEW"};
        same(
            List.of(
                NAME + "_mat|MATERIALIZED VIEW|public", NAME + "|TABLE|public", NAME + "_keyed|TABLE|public",
                NAME + "_stream|TABLE|public", NAME + "_view|VIEW|public"),
            lines(meta.getTables(null, "public", NAME + "%", types), "TABLE_NAME", "TABLE_TYPE", "TABLE_SCHEM"));
        same(
            List.of("b|text|2147483647|0|NO|1|'x'|12", "a|int4|10|0|NO|2|null|4", "c|numeric|8|2|YES|3|null|2"),
            lines(meta.getColumns(null, "public", NAME + "_keyed", null), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE",
                "DECIMAL_DIGITS", "IS_NULLABLE", "ORDINAL_POSITION", "COLUMN_DEF", "DATA_TYPE"));
        same(
            List.of("k|text|12|null", "n|int8|-5|null"),
            lines(meta.getColumns(null, null, NAME + "_mat", "%"), "COLUMN_NAME", "TYPE_NAME", "DATA_TYPE", "COLUMN_DEF"));
        same(
            List.of("a|1|" + NAME + "_keyed_pkey", "b|2|" + NAME + "_keyed_pkey"),
            lines(meta.getPrimaryKeys(null, "public", NAME + "_keyed"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"));
        same(
            List.of("a|1|f", "b|2|f"),
            lines(meta.getIndexInfo(null, "public", NAME + "_keyed", true, false), "COLUMN_NAME", "ORDINAL_POSITION", "NON_UNIQUE"));
        same(List.of(), lines(meta.getImportedKeys(null, "public", NAME), "FKTABLE_NAME"));
        same(List.of(), lines(meta.getExportedKeys(null, "public", NAME), "FKTABLE_NAME"));
        same(
            new TreeSet<>(List.of("a|4", "b|12")),
            new TreeSet<>(lines(meta.getBestRowIdentifier(null, "public", NAME + "_keyed", 0, true), "COLUMN_NAME", "DATA_TYPE")));
        List<String> known = lines(meta.getTypeInfo(), "TYPE_NAME", "DATA_TYPE");
        same(true, known.containsAll(List.of("int4|4", "text|12", "timestamptz|93", "uuid|1111", "_int4|2003", "jsonb|1111")));
        same(List.of("advance_watermark|public"), lines(meta.getFunctions(null, null, "advance_watermark"), "FUNCTION_NAME", "FUNCTION_SCHEM"));
        same(List.of(), lines(meta.getUDTs(null, "public", "%", null), "TYPE_NAME"));
        same(List.of(), lines(meta.getProcedures(null, null, "%"), "PROCEDURE_NAME"));
        lines(meta.getTablePrivileges(null, "public", NAME + "%"), "TABLE_NAME", "PRIVILEGE");
        lines(meta.getColumnPrivileges(null, "public", NAME, "%"), "COLUMN_NAME", "PRIVILEGE");
        lines(meta.getFunctionColumns(null, null, "advance_watermark", "%"), "FUNCTION_NAME", "COLUMN_NAME");
        lines(meta.getClientInfoProperties(), "NAME");
        same(true, meta.getMaxColumnNameLength() > 0);
        same(true, meta.getSQLKeywords() != null);
        // Of a result: where its columns come from and whether they may be NULL.
        try (PreparedStatement select = connection.prepareStatement("SELECT a, c FROM " + NAME + "_keyed WHERE a = ?")) {
            same("int4", select.getMetaData().getColumnTypeName(1));
            same("int4", select.getParameterMetaData().getParameterTypeName(1));
            same(8, select.getMetaData().getPrecision(2));
        }
    }

    static void prepared(Connection connection) throws Exception {
        String sql = "SELECT i4 + ?, t || ?, n * ?, CAST(? AS TIMESTAMP), i8 = ANY(?) FROM " + NAME + " WHERE i4 = ? LIMIT 1";
        try (PreparedStatement select = connection.prepareStatement(sql)) {
            for (int n = 0; n < 10; n++) {
                select.setInt(1, n);
                select.setString(2, "!" + n);
                select.setBigDecimal(3, new BigDecimal(2));
                select.setObject(4, LocalDateTime.of(2024, 1, 1, 0, 0, n));
                select.setArray(5, connection.createArrayOf("int8", new Long[] {1L << 62}));
                select.setInt(6, 6);
                try (ResultSet rows = select.executeQuery()) {
                    same(true, rows.next());
                    same(6 + n, rows.getInt(1));
                    same("Zoë 'q' \\ 🦀!" + n, rows.getString(2));
                    same(0, new BigDecimal("-24691.356").compareTo(rows.getBigDecimal(3)));
                    same(LocalDateTime.of(2024, 1, 1, 0, 0, n), rows.getObject(4, LocalDateTime.class));
                    same(true, rows.getBoolean(5));
                    same(false, rows.next());
                }
            }
        }
    }

    static void copy(Connection connection) throws Exception {
        run(connection, "CREATE TABLE " + NAME + "_copy (" + COLUMNS + ")");
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        for (String format : new String[] {"text", "csv", "binary"}) {
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            same(9L, manager.copyOut("COPY " + NAME + " TO STDOUT (FORMAT " + format + ")", data));
            ByteArrayInputStream back = new ByteArrayInputStream(data.toByteArray());
            same(9L, manager.copyIn("COPY " + NAME + "_copy FROM STDIN (FORMAT " + format + ")", back));
        }
        same("27", value(connection, "SELECT count(*) FROM " + NAME + "_copy"));
        same("24", value(connection, "SELECT count(*) FROM " + NAME + "_copy WHERE at[1] = 'a,b' AND n = -12345.678"));
        same(2L, manager.copyIn("COPY " + NAME + "_copy (i4, t) FROM STDIN", new StringReader("1\tone\n2\t\\N\n")));
        StringWriter text = new StringWriter();
        manager.copyOut("COPY (SELECT i4, t FROM " + NAME + "_copy WHERE i4 < 3 ORDER BY 1) TO STDOUT CSV HEADER", text);
        same("i4,t\n1,one\n2,\n", text.toString());
        try {
            manager.copyIn("COPY " + NAME + "_copy (i4) FROM STDIN", new StringReader("x\n"));
            throw new AssertionError("a letter is no number");
        } catch (SQLException error) {
            same("22P02", error.getSQLState());
        }
        same("29", value(connection, "SELECT count(*) FROM " + NAME + "_copy"));
    }

    static void live(Connection connection) throws Exception {
        String stream = NAME + "_live";
        run(connection, "CREATE STREAM " + stream + " (k TEXT, ts TIMESTAMP, WATERMARK FOR ts)");
        LocalDateTime first = LocalDateTime.of(2024, 1, 1, 0, 0);
        try (Connection reader = DriverManager.getConnection(URL);
                Statement statement = reader.createStatement();
                PreparedStatement insert = connection.prepareStatement("INSERT INTO " + stream + " VALUES (?, ?)")) {
            reader.setAutoCommit(false);
            statement.setFetchSize(1);
            for (int second = 0; second < 2; second++) {
                insert.setString(1, "a");
                insert.setObject(2, first.plusSeconds(second));
                insert.executeUpdate();
            }
            try (ResultSet rows = statement.executeQuery(
                    "SELECT window_start, count(*) AS n FROM TUMBLE(" + stream + ", ts, INTERVAL '1 second') "
                        + "GROUP BY window_start, window_end EMIT ON WINDOW CLOSE")) {
                for (int second = 0; second < 6; second++) {
                    same(true, rows.next());
                    same(first.plusSeconds(second), rows.getObject("window_start", LocalDateTime.class));
                    same(1L, rows.getLong("n"));
                    insert.setObject(2, first.plusSeconds(second + 2));
                    insert.executeUpdate();
                }
            }
            reader.commit();
            same("1", value(reader, "SELECT 1"));
        }
    }

    static void cancel(Connection connection) throws Exception {
        try (Connection other = DriverManager.getConnection(URL); Statement statement = other.createStatement()) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    System.out.println("cancel: " + error);
                }
            });
            thread.start();
            try {
                statement.executeQuery("SELECT k FROM " + NAME + "_live WHERE k = 'none' EMIT CHANGES");
                throw new AssertionError("an endless query has ended");
            } catch (SQLException error) {
                same("57014", error.getSQLState());
            }
            thread.join();
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery("SELECT pg_sleep(60)");
                throw new AssertionError("a minute has passed");
            } catch (SQLException error) {
                same("57014", error.getSQLState());
            }
            same("1", value(other, "SELECT 1"));
        }
    }

    static void batch(Connection connection) throws Exception {
        run(connection, "CREATE TABLE " + NAME + "_batch (a INT PRIMARY KEY, b TEXT)");
        for (String url : new String[] {URL, URL + "&reWriteBatchedInserts=true"}) {
            try (Connection other = DriverManager.getConnection(url);
                    PreparedStatement insert = other.prepareStatement(
                        "INSERT INTO " + NAME + "_batch VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET b = excluded.b")) {
                for (int n = 0; n < 200; n++) {
                    insert.setInt(1, n);
                    insert.setString(2, "b" + n);
                    insert.addBatch();
                }
                same(200, insert.executeBatch().length);
            }
            same("200", value(connection, "SELECT count(*) FROM " + NAME + "_batch"));
        }
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("UPDATE " + NAME + "_batch SET b = 'x' WHERE a < 10");
            statement.addBatch("DELETE FROM " + NAME + "_batch WHERE a >= 100");
            same(true, Arrays.equals(new int[] {10, 100}, statement.executeBatch()));
        }
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO " + NAME + "_batch VALUES (1000, 'k')", Statement.RETURN_GENERATED_KEYS)) {
            same(1, insert.executeUpdate());
            same(List.of("1000|k"), lines(insert.getGeneratedKeys(), "a", "b"));
        }
    }

    static void transactions(Connection connection) throws Exception {
        try (Connection other = DriverManager.getConnection(URL)) {
            other.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            other.setAutoCommit(false);
            run(other, "INSERT INTO " + NAME + "_batch VALUES (2000, 'kept')");
            Savepoint savepoint = other.setSavepoint("here");
            run(other, "INSERT INTO " + NAME + "_batch VALUES (2001, 'gone')");
            other.rollback(savepoint);
            other.commit();
            run(other, "INSERT INTO " + NAME + "_batch VALUES (2002, 'gone')");
            same("1", value(other, "SELECT count(*) FROM " + NAME + "_batch WHERE a = 2002"));
            other.rollback();
            other.setReadOnly(true);
            same("1", value(other, "SELECT count(*) FROM " + NAME + "_batch WHERE a >= 2000"));
        }
    }

    static void errors(Connection connection) throws Exception {
        String[][] wrong = {
            {"SELECT 1/0", "22012"}, {"SELECT * FROM no_such_relation", "42P01"}, {"SELEC", "42601"},
            {"INSERT INTO " + NAME + "_batch VALUES (1, 'again')", "23505"},
        };
        for (String[] pair : wrong) {
            try {
                run(connection, pair[0]);
                throw new AssertionError(pair[0] + " has an answer");
            } catch (SQLException error) {
                same(pair[1], error.getSQLState());
            }
        }
        same(true, connection.isValid(5));
        same("tidemill", connection.getCatalog());
        same("public", connection.getSchema());
        byte[] text = "ok".getBytes(StandardCharsets.UTF_8);
        same(2, text.length);
    }
}
