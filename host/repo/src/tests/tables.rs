//! Columns of new rows against those of the tables that are there.

use super::*;

#[tokio::test]
async fn a_column_of_another_type_is_found_before_it_is_committed() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let mut open = repo.open_commit();
    open.put_table("/data/a.parquet", PutMode::Append, encode(Format::Parquet, &rows(0, 3))).await.unwrap();
    let head = committed(writer.finish(open, meta(None, 3)).await);
    let check = async |column: &str, data_type: DataType, below: &str, replaced: Option<&str>, expected: bool| {
        let schema = Schema::new(vec![Field::new(column, data_type, true)]);
        let found = repo.conflict(&head, below, replaced, &schema).await.unwrap();
        assert_eq!(found.as_ref().map(|found| found.column.as_str()), expected.then_some(column), "{schema} {below}");
    };
    for below in ["/", "/data", "/data/", ""] {
        check("id", DataType::Utf8, below, None, true).await;
        check("id", DataType::Int32, below, None, false).await;
        check("other", DataType::Utf8, below, None, false).await;
    }
    check("id", DataType::Utf8, "/dat", None, false).await;
    check("id", DataType::Utf8, "/data", Some("/data/a.parquet"), false).await;
}
