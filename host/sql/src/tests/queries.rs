//! SQL over commits.

use super::*;

async fn shown(store: &Store, sql: &str, at: &At) -> Result<String, Error> {
    let batches = query(store, sql, at).await?.collect().await?;
    let table = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let cells = table.lines().filter(|line| line.starts_with('|')).skip(1);
    Ok(cells.map(|line| line.trim_matches('|').replace(' ', "").replace('|', ",")).collect::<Vec<_>>().join(";"))
}

/// Two commits of events, in two directories, with dead letters; and a second repo.
async fn filled() -> (Store, tempfile::TempDir) {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("git-events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..2u64 {
        let mut open = repo.open_commit();
        let from = i64::try_from(n * 1000).unwrap();
        let formats = [Format::Parquet, Format::Ndjson];
        let table = encode(formats[usize::try_from(n).unwrap()], &rows(from, from + 1000));
        open.put_table(&format!("/pushes/{n}.x"), PutMode::Append, table).await.unwrap();
        open.put_table("/forks/all.csv", PutMode::Append, encode(Format::Csv, &rows(0, 10))).await.unwrap();
        open.put_table(&format!("/dead-letter/{n}"), PutMode::Append, encode(Format::Arrow, &rows(0, 2)))
            .await
            .unwrap();
        open.put_file("/notes.txt", PutMode::Overwrite, "no table".into()).await.unwrap();
        committed(writer.finish(open, meta(n.checked_sub(1), n)).await);
    }
    store.repo_or_create("empty", "").await.unwrap();
    let other = store.repo_or_create("Users", "").await.unwrap();
    let mut writer = other.writer("master", "users").await.unwrap();
    let mut open = other.open_commit();
    open.put_table("/u", PutMode::Append, encode(Format::Parquet, &rows(5, 8))).await.unwrap();
    committed(writer.finish(open, CommitMeta { pipeline: "users".into(), ..meta(None, 1) }).await);
    (store, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_found_by_name() {
    let (store, _dir) = filled().await;
    let check = async |sql: &str, expected: &str| {
        assert_eq!(shown(&store, sql, &At::new()).await.unwrap(), expected, "{sql}");
    };
    check("select count(*) from git_events", "2020").await;
    check("select count(*), sum(id), count(name), min(size) from git_events_pushes", "2000,1999000,1714,3").await;
    check("select count(*) from \"git-events\"", "2020").await;
    check("select count(*) from git_events_forks", "20").await;
    check("select count(*) from Git_Events_Dead_Letter", "4").await;
    check("select name from git_events_pushes where id = 1002", "name,\"1002\"").await;
    check("select u.id, count(*) from git_events e join users u using (id) group by 1 order by 1", "5,3;6,3;7,3").await;
    check("with x as (select id from users) select max(id) from x", "7").await;
    check("select value from generate_series(1, 2)", "1;2").await;
    check("select id from git_events_pushes order by id desc limit 1", "1999").await;
}

/// Where code is built for compile time frames are large.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_condition_does_not_overflow_the_stack() {
    let (store, _dir) = filled().await;
    let deep = (0..1000).map(|n| format!("id = {n}")).collect::<Vec<_>>().join(" or ");
    let sql = format!("select count(*) from git_events_pushes where {deep}");
    assert_eq!(shown(&store, &sql, &At::new()).await.unwrap(), "1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_commit_can_be_asked() {
    let (store, _dir) = filled().await;
    let at = At::from([("git-events".to_owned(), "git-events@master~1".parse().unwrap())]);
    assert_eq!(shown(&store, "select count(*) from git_events", &at).await.unwrap(), "1010");
    let at = At::from([("git-events".to_owned(), "git-events@master:/forks".parse().unwrap())]);
    assert_eq!(shown(&store, "select count(*) from git_events", &at).await.unwrap(), "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_statements_are_refused_by_code() {
    let (store, dir) = filled().await;
    let check = async |sql: &str, expected: &str, says: &str| {
        let error = shown(&store, sql, &At::new()).await.unwrap_err();
        assert_eq!(code(&error), expected, "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
    };
    check("select * from git_event", "E0550", "did you mean `git_events`?").await;
    check("select * from git_events_stars", "E0550", "git_events_stars").await;
    check("select * from a.b", "E0550", "a.b").await;
    check("select * from empty", "E0511", "empty").await;
    check("selec 1", "E0553", "").await;
    check("select nope from users", "E0553", "").await;
    check("create table x as select 1", "E0554", "").await;
    check("copy (select 1) to 'x.csv'", "E0554", "").await;
    check("insert into users select * from users", "E0554", "").await;
    check("set datafusion.execution.batch_size = 1", "E0554", "").await;
    let record = dir.path().join("repos/git-events/branches/master/00000000000000000002.json");
    std::fs::write(record, "x").unwrap();
    check("select sum(id) from git_events", "E0520", "00000000000000000002.json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_with_other_columns_are_one_table() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("t", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let put = async |writer: &mut BranchWriter, n: u64, schema: Schema, line: &str| {
        let mut decoder = arrow::json::ReaderBuilder::new(schema.into()).build_decoder().unwrap();
        decoder.decode(line.as_bytes()).unwrap();
        let batch = decoder.flush().unwrap().unwrap();
        let mut open = repo.open_commit();
        let table = encode(Format::Parquet, &batch);
        open.put_table(&format!("/{n}.parquet"), PutMode::Append, table).await.unwrap();
        committed(writer.finish(open, meta(n.checked_sub(1), n)).await);
    };
    let place = |fields: Vec<Field>| DataType::Struct(fields.into());
    let item = |data_type| DataType::List(Field::new("item", data_type, true).into());
    let old = Schema::new(vec![
        Field::new("a", DataType::Int32, false),
        Field::new("p", place(vec![Field::new("x", DataType::Int64, true)]), true),
        Field::new("l", item(DataType::Int8), true),
        Field::new("gone", DataType::Null, true),
    ]);
    let new = Schema::new(vec![
        Field::new(
            "p",
            place(vec![Field::new("y", DataType::Utf8, true), Field::new("x", DataType::Int64, true)]),
            true,
        ),
        Field::new("l", item(DataType::Int64), true),
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("gone", DataType::Boolean, true),
    ]);
    put(&mut writer, 0, old, r#"{"a": 1, "p": {"x": 1}, "l": [1]}"#).await;
    put(&mut writer, 1, new, r#"{"a": 4294967296, "p": {"x": 2, "y": "z"}, "b": "b", "l": [300], "gone": true}"#).await;
    let sql = "select a, p['x'], p['y'], l[1], b, gone from t order by a";
    assert_eq!(shown(&store, sql, &At::new()).await.unwrap(), "1,1,,1,,;4294967296,2,z,300,b,true");
    let odd = Schema::new(vec![Field::new("a", DataType::Utf8, true)]);
    put(&mut writer, 2, odd, r#"{"a": "text"}"#).await;
    let error = shown(&store, sql, &At::new()).await.unwrap_err();
    assert_eq!(code(&error), "E0543");
    assert!(error.to_string().contains("column `a` is Int64 in /1.parquet and Utf8 in /2.parquet"), "{error}");
    let at = At::from([("t".to_owned(), "t~1".parse().unwrap())]);
    assert_eq!(shown(&store, "select count(*) from t", &at).await.unwrap(), "2");
}

#[tokio::test]
async fn bytes_become_text_whatever_they_are() {
    let (store, _dir) = local().await;
    let sql =
        "select text(v), text(w), text(null) from (values (x'4a6f', 'Jo'), (x'4aff', null)) as t(v, w) order by v";
    assert_eq!(shown(&store, sql, &At::new()).await.unwrap(), "Jo,Jo,;J\u{fffd},,");
    let error = shown(&store, "select text(5)", &At::new()).await.unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.contains("`text` takes bytes") && error.contains("cast(… as varchar)"), "{error}");
}
