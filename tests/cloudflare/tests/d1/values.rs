//! Values go in and come out as they are.

use agentx_sql::{Executor, Rows, Statement, Value};

use super::{WAYS, database, run};

fn columns<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn what_is_written_is_what_is_read() {
    for way in WAYS {
        let database = database(way);
        run(&database, "CREATE TABLE t (a, b, c, d, e, f, g)").await.unwrap();
        let values = vec![
            Value::Null,
            Value::Integer(-agentx_sql::MAX_INTEGER),
            0.1.into(),
            "ü\0'\"\\ \u{1f600}\n".into(),
            vec![0, 127, 128, 255].into(),
            "".into(),
            vec![].into(),
        ];
        let mut insert = Statement::new("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        insert.params = values.clone();
        database.execute(vec![insert]).await.unwrap();
        let rows = run(&database, "SELECT * FROM t").await.unwrap();
        assert_eq!(rows, Rows::new(columns(["a", "b", "c", "d", "e", "f", "g"]), vec![values]), "{way:?}");
        let types =
            "SELECT typeof(a) || typeof(b) || typeof(c) || typeof(d) || typeof(e) || typeof(f) AS t FROM t";
        let types = run(&database, types).await.unwrap();
        assert_eq!(types.first().unwrap().text("t").unwrap(), "nullintegerrealtextblobtext", "{way:?}");
        let none = run(&database, "SELECT a, a FROM t WHERE b = 1").await.unwrap();
        assert_eq!(none, Rows::new(columns(["a", "a"]), vec![]), "no rows, and the columns all the same");
    }
}

/// Only SQL itself makes such text. D1 gives it with U+FFFD in the place of what is wrong; as bytes it comes whole.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn text_that_is_no_utf_8_comes_with_replacements_and_as_bytes_exactly() {
    for way in WAYS {
        let sql = "SELECT CAST(x'61ff62' AS TEXT) AS wrong, CAST(x'61ff62' AS BLOB) AS bytes, \
            CAST(CAST(x'61ff62' AS TEXT) AS BLOB) AS both, '\u{fffd}' AS stored";
        let rows = run(&database(way), sql).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.text("wrong").unwrap(), "a\u{fffd}b", "{way:?}");
        for column in ["bytes", "both"] {
            assert_eq!(row.get(column).unwrap(), &Value::Blob(vec![0x61, 0xff, 0x62]), "{way:?}");
        }
        assert_eq!(row.text("stored").unwrap(), "\u{fffd}", "{way:?}");
    }
}

/// They are stored exactly, compared exactly, and read as text; as a number, one is no integer any more.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn an_integer_above_what_json_carries_arrives_exactly_and_is_never_another_on_its_way_back() {
    for way in WAYS {
        let database = database(way);
        run(&database, "CREATE TABLE t (n INTEGER)").await.unwrap();
        for number in [(1 << 53) + 1, i64::MAX, i64::MIN, -(1 << 53) - 1] {
            let insert = Statement::new("INSERT INTO t VALUES (?1)").bind(number);
            let found = Statement::new("SELECT CAST(n AS TEXT) AS text, n FROM t WHERE n = ?1").bind(number);
            let results = database.execute(vec![insert, found]).await.unwrap();
            let row = results[1].first().unwrap();
            assert_eq!(row.integer("text").unwrap(), number, "{way:?}");
            assert!(matches!(row.get("n").unwrap(), Value::Real(_)), "{way:?}: {row:?}");
        }
    }
}

/// A number that travels as text is a number where it is compared, counted with or a limit.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_parameter_is_of_its_type_in_every_place() {
    for way in WAYS {
        let database = database(way);
        let statement = Statement::new(
            "SELECT 2 < ?1 AS less, ?1 + 1 AS sum, typeof(?2) AS real, ?3 IS NULL AS missing, 'b' = ?4 AS text, \
            ?5 = x'00ff' AS bytes, '10' = ?1 AS no_text, 1 -?6 AS minus LIMIT ?1",
        )
        .bind(10)
        .bind(1.0)
        .bind(Value::Null)
        .bind("b")
        .bind(vec![0, 255])
        .bind(-5);
        let results = database.execute(vec![statement]).await.unwrap();
        let row = results[0].first().unwrap();
        for (column, expected) in [
            ("less", 1),
            ("sum", 11),
            ("missing", 1),
            ("text", 1),
            ("bytes", 1),
            ("no_text", 0),
            ("minus", 6),
        ] {
            assert_eq!(row.integer(column).unwrap(), expected, "{way:?}: {column}");
        }
        assert_eq!(row.text("real").unwrap(), "real", "{way:?}");
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn floats_come_back_to_the_last_bit() {
    let numbers =
        [0.1, 1.0 / 3.0, 1e16, -2.5e-7, 9_007_199_254_740_993.0, 123_456_789.123_456_78, 1e300, 5e-324];
    for way in WAYS {
        let database = database(way);
        run(&database, "CREATE TABLE t (n REAL)").await.unwrap();
        let insert = |number: &f64| Statement::new("INSERT INTO t VALUES (?1)").bind(*number);
        database.execute(numbers.iter().map(insert).collect()).await.unwrap();
        let rows = run(&database, "SELECT n FROM t ORDER BY rowid").await.unwrap();
        let back: Vec<f64> = rows.iter().map(|row| row.real("n").unwrap()).collect();
        assert_eq!(
            back.iter().map(|n| n.to_bits()).collect::<Vec<_>>(),
            numbers.map(f64::to_bits),
            "{way:?}"
        );
    }
}
