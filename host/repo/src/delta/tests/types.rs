//! Columns in Delta's words: what is published, what is left out, what stops a table.

use arrow::datatypes::{Fields, TimeUnit};
use serde_json::{Value, json};

use super::{reader::*, *};
use crate::delta::schema::Shape;

fn published(data_type: DataType) -> (Value, Vec<String>) {
    published_of(data_type, true)
}

fn published_of(data_type: DataType, portable: bool) -> (Value, Vec<String>) {
    let schema = Schema::new(vec![Field::new("c", data_type, false)]);
    let (fields, left_out) = Shape::of_file(&schema.into(), portable).columns(&[]);
    (fields.first().map_or(Value::Null, |field| serde_json::to_value(field).unwrap()["type"].clone()), left_out)
}

#[test]
fn types_are_published_as_readers_take_them() {
    let check =
        |data_type: DataType, expected: Value| assert_eq!(published(data_type.clone()).0, expected, "{data_type}");
    check(DataType::Boolean, "boolean".into());
    check(DataType::Int8, "byte".into());
    check(DataType::UInt8, "short".into());
    check(DataType::Int16, "short".into());
    check(DataType::UInt16, "integer".into());
    check(DataType::Int32, "integer".into());
    check(DataType::UInt32, "long".into());
    check(DataType::Int64, "long".into());
    check(DataType::Float32, "float".into());
    check(DataType::Float64, "double".into());
    check(DataType::Decimal128(10, 2), "decimal(10,2)".into());
    check(DataType::Date32, "date".into());
    check(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), "timestamp".into());
    check(DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp_ntz".into());
    check(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "string".into());
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    check(
        DataType::List(item(DataType::UInt8)),
        json!({"type": "array", "elementType": "short", "containsNull": true}),
    );
    check(
        DataType::FixedSizeList(item(DataType::UInt64), 2),
        json!({"type": "array", "elementType": "decimal(20,0)", "containsNull": true}),
    );
    check(DataType::UInt64, "decimal(20,0)".into());
    check(DataType::Float16, "float".into());
    check(DataType::Decimal128(5, -3), "decimal(8,0)".into());
    check(DataType::Date64, "timestamp_ntz".into());
    check(DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), "timestamp".into());
    check(DataType::Timestamp(TimeUnit::Second, None), "timestamp_ntz".into());
    check(DataType::Time32(TimeUnit::Second), "integer".into());
    check(DataType::Time64(TimeUnit::Nanosecond), "long".into());
    check(DataType::Duration(TimeUnit::Millisecond), "long".into());
    let huge = DataType::Decimal256(50, 2);
    let fields: Fields = vec![Field::new("a", huge.clone(), true), Field::new("b", DataType::Utf8, true)].into();
    let field = json!([{"name": "b", "type": "string", "nullable": true, "metadata": {}}]);
    check(DataType::Struct(fields.clone()), json!({"type": "struct", "fields": field}));
    assert_eq!(published(DataType::Struct(fields)).1, ["c.a (Decimal256(50, 2))"]);
    assert_eq!(published(DataType::List(item(huge))), (Value::Null, vec!["c[] (Decimal256(50, 2))".to_owned()]));
    assert_eq!(published(DataType::Null), (Value::Null, vec!["c (nothing but nulls)".to_owned()]));
}

#[test]
fn files_of_earlier_versions_have_types_as_they_are() {
    for out in [DataType::UInt64, DataType::Timestamp(TimeUnit::Nanosecond, None), DataType::Time32(TimeUnit::Second)] {
        assert_eq!(published_of(out.clone(), false), (Value::Null, vec![format!("c ({out})")]));
    }
    assert_eq!(published_of(DataType::UInt32, false).0, "long");
}

#[test]
fn of_names_that_differ_by_case_the_table_has_the_one_in_lower_case_whatever_their_order() {
    let of = |names: &[&str]| {
        let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
        Shape::of_file(&Schema::new(fields).into(), true)
    };
    let mut columns = Vec::new();
    for names in [&["id", "Id", "ID", "x"], &["x", "ID", "Id", "id"]] {
        assert_eq!(of(names).alike(), None);
        let (fields, left_out) = of(names).columns(&[]);
        assert!(
            left_out.iter().all(|what| what.contains("its name differs from that of id only by case")),
            "{left_out:?}"
        );
        let mut names: Vec<_> = fields.into_iter().map(|field| field.name).collect();
        names.sort();
        columns.push((names, left_out.len()));
    }
    assert_eq!(columns, vec![(vec!["id".to_owned(), "x".to_owned()], 2); 2]);
    // In files of their own they cannot be told apart.
    assert_eq!(of(&["Id"]).join(of(&["id"]), "").unwrap().alike(), Some(("Id", "id")));
}

#[test]
fn types_meet_where_readers_widen() {
    let check = |left: DataType, right: DataType, expected: Result<Value, (&str, &str)>| {
        let shape = |data_type| Shape::of_file(&Schema::new(vec![Field::new("c", data_type, true)]).into(), true);
        let joined = shape(left.clone()).join(shape(right.clone()), "").map(|shape| shape.columns(&[]).0);
        let joined = joined.map(|fields| fields.first().map_or(Value::Null, |field| json!(field)["type"].clone()));
        let joined = joined.map_err(|clash| (clash.column, format!("{} {}", clash.left, clash.right)));
        assert_eq!(joined, expected.map_err(|(c, both)| (c.to_owned(), both.to_owned())), "{left} {right}");
    };
    check(DataType::Int8, DataType::UInt8, Ok("short".into()));
    check(DataType::Int64, DataType::Int16, Ok("long".into()));
    check(DataType::Float32, DataType::Float64, Ok("double".into()));
    check(DataType::Decimal128(5, 2), DataType::Decimal128(9, 2), Ok("decimal(9,2)".into()));
    check(DataType::Null, DataType::Date32, Ok("date".into()));
    check(DataType::LargeUtf8, DataType::Utf8View, Ok("string".into()));
    check(DataType::Int64, DataType::UInt64, Ok(Value::Null));
    check(DataType::Int32, DataType::Float64, Err(("c", "integer double")));
    check(DataType::Utf8, DataType::Int64, Err(("c", "string long")));
    check(DataType::Decimal128(5, 2), DataType::Decimal128(9, 3), Err(("c", "decimal(5,2) decimal(9,3)")));
    let inner = |data_type| DataType::Struct(vec![Field::new("x", data_type, true)].into());
    check(inner(DataType::Utf8), inner(DataType::Date32), Err(("c.x", "string date")));
    check(inner(DataType::Utf8), DataType::Utf8, Err(("c", "a struct string")));
}

fn of(columns: &[(&str, DataType)], id: i64) -> RecordBatch {
    let mut fields = vec![Field::new("id", DataType::Int64, true)];
    fields.extend(columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)));
    let mut arrays: Vec<arrow::array::ArrayRef> = vec![Arc::new(Int64Array::from(vec![id]))];
    arrays.extend(columns.iter().map(|(_, data_type)| arrow::array::new_null_array(data_type, 1)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn words(version: &Seen) -> Vec<String> {
    version.columns().iter().map(|(name, data_type)| format!("{name} {}", data_type.as_str().unwrap_or("{}"))).collect()
}

#[tokio::test]
async fn columns_are_those_of_the_files_that_are_there() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    let put = |path, columns: &[(&str, DataType)], id| Do::Put(path, of(columns, id));
    commit(&repo, w, vec![put("/t/m.parquet", &[("x", DataType::Int32)], 1)]).await;
    commit(&repo, w, vec![put("/t/a.parquet", &[("new", DataType::Utf8), ("x", DataType::Int64)], 2)]).await;
    publish(&repo).await;
    commit(&repo, w, vec![put("/t/z.parquet", &[("u", DataType::Decimal256(50, 2)), ("at", timestamp())], 3)]).await;
    commit(&repo, w, vec![Do::Delete("/t/a.parquet")]).await;
    commit(&repo, w, vec![Do::Delete("/t/z.parquet")]).await;
    let told = publish(&repo).await;
    assert!(told.failures.is_empty(), "{told:?}");
    let versions = agrees(store.as_ref(), &repo, "t").await;
    assert_eq!(words(&versions[0]), ["id long", "x integer"]);
    assert_eq!(words(&versions[1]), ["id long", "x long", "new string"]);
    assert_eq!(words(&versions[2]), ["id long", "x long", "new string", "at timestamp_ntz"]);
    assert_eq!(versions[2].meta["description"], "events/master/t, published by spout without u (Decimal256(50, 2))");
    assert_eq!(versions[2].protocol["readerFeatures"].to_string(), r#"["timestampNtz"]"#);
    assert_eq!(words(&versions[3]), ["id long", "x integer", "at timestamp_ntz"]);
    assert_eq!(words(&versions[4]), ["id long", "x integer"]);
    // What a table once needed it goes on needing.
    assert_eq!(versions[4].protocol["readerFeatures"].to_string(), r#"["timestampNtz"]"#);
    assert_eq!(versions[0].protocol["minReaderVersion"], 1);
    let created = |version: &Seen| (version.meta["createdTime"].clone(), version.meta["id"].clone());
    assert_eq!(created(&versions[4]), created(&versions[0]));
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

#[tokio::test]
async fn types_that_do_not_meet_stop_their_table_and_no_other() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    let put = |path, data_type: DataType, id| Do::Put(path, of(&[("x", data_type)], id));
    let mut publisher = publisher(&repo);
    commit(&repo, w, vec![put("/t/a.parquet", DataType::Int64, 1)]).await;
    publisher.publish().await.unwrap();
    commit(&repo, w, vec![put("/t/b.parquet", DataType::Utf8, 2), put("/u/a.parquet", DataType::Int64, 3)]).await;
    let told = publisher.publish().await.unwrap();
    assert_eq!(codes(&told), [("/t", "E0565")]);
    let text = told.failures[0].1.to_string();
    assert!(text.contains("`x` is long in /t/a.parquet and string in /t/b.parquet"), "{text}");
    commit(&repo, w, vec![put("/t/c.parquet", DataType::Int64, 4), put("/u/b.parquet", DataType::Int64, 5)]).await;
    assert_eq!(codes(&publisher.publish().await.unwrap()), [("/t", "E0565")]);
    // The same for a publisher that starts anew.
    assert_eq!(codes(&publish(&repo).await), [("/t", "E0565")]);
    assert_eq!(versions(store.as_ref(), "t").await.len(), 1);
    assert_eq!(versions(store.as_ref(), "u").await.len(), 2);
    let last = commit(&repo, w, vec![Do::Delete("/t/b.parquet")]).await;
    for publication in [publisher.publish().await.unwrap(), publish(&repo).await] {
        assert!(publication.failures.is_empty(), "{publication:?}");
    }
    let versions = versions(store.as_ref(), "t").await;
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[1].commit, versions[1].files.len()), (&last.header.id, 2));
}

#[tokio::test]
async fn a_table_without_a_column_for_readers_is_refused() {
    let check = async |files: &[(&str, &str, DataType)], code: &'static str, part: &str| {
        let (store, repo) = repo().await;
        let mut writer = repo.writer("master", "events").await.unwrap();
        let batch = |name: &str, data_type: &DataType| {
            let schema = Schema::new(vec![Field::new(name, data_type.clone(), true)]);
            RecordBatch::try_new(schema.into(), vec![arrow::array::new_null_array(data_type, 1)]).unwrap()
        };
        let puts = files.iter().map(|(path, name, data_type)| Do::Put(path, batch(name, data_type))).collect();
        commit(&repo, &mut writer, puts).await;
        let told = publish(&repo).await;
        assert_eq!(codes(&told), [("/t", code)]);
        assert!(told.failures[0].1.to_string().contains(part), "{told:?}");
        assert!(everything(store.as_ref()).await.keys().all(|name| !name.contains("_delta_log")));
    };
    check(&[("/t/a.parquet", "u", DataType::Decimal256(50, 2))], "E0567", "no column").await;
    check(&[("/t/X=1/a.parquet", "x", DataType::Utf8)], "E0567", "`X=`").await;
    check(
        &[("/X=1/t/a.parquet", "a", DataType::Utf8), ("/t/x=1/a.parquet", "a", DataType::Utf8)],
        "E0567",
        "=` is part",
    )
    .await;
}
