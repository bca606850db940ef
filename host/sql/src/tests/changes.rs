//! Commits, files and changes as tables, and repos at several commits in one query.

use super::*;

async fn shown(store: &Store, sql: &str) -> Result<String, Error> {
    let batches = query(store, sql, &At::new()).await?.collect().await?;
    let table = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let cells = table.lines().filter(|line| line.starts_with('|')).skip(1);
    Ok(cells.map(|line| line.trim_matches('|').replace(' ', "").replace('|', ",")).collect::<Vec<_>>().join(";"))
}

/// What a commit does, and how.
type Put<'a> = (&'a str, PutMode, Format, RecordBatch);

struct Filled {
    store: Store,
    repo: Repo,
    writer: BranchWriter,
    commits: u64,
    dir: TempDir,
}

impl Filled {
    async fn new() -> Self {
        let (store, dir) = local().await;
        let repo = store.repo_or_create("e-v", "").await.unwrap();
        let writer = repo.writer("master", "events").await.unwrap();
        Self { store, repo, writer, commits: 0, dir }
    }

    async fn commit(&mut self, removed: &[&str], puts: Vec<Put<'_>>) -> Commit {
        let mut open = self.repo.open_commit();
        for path in removed {
            open.delete_file(path).unwrap();
        }
        for (path, how, format, batch) in puts {
            open.put_table(path, how, encode(format, &batch)).await.unwrap();
        }
        let from = self.commits.checked_sub(1);
        self.commits += 1;
        committed(self.writer.finish(open, meta(from, self.commits - 1)).await)
    }

    async fn check(&self, sql: &str, expected: &str) {
        assert_eq!(shown(&self.store, sql).await.unwrap(), expected, "{sql}");
    }

    async fn refused(&self, sql: &str, expected: &str, says: &str) {
        let error = shown(&self.store, sql).await.unwrap_err();
        assert_eq!(code(&error), expected, "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
    }
}

/// Three commits: ten rows, ten more with a second file, and one file gone.
async fn filled() -> (Filled, Vec<Commit>) {
    use {Format as F, PutMode::Append};
    let mut filled = Filled::new().await;
    let commits = vec![
        filled.commit(&[], vec![("/a/x.parquet", Append, F::Parquet, rows(0, 10))]).await,
        filled
            .commit(
                &[],
                vec![
                    ("/a/x.parquet", Append, F::Parquet, rows(10, 15)),
                    ("/b.csv", Append, F::Csv, rows(100, 105)),
                    ("/dead-letter/x", Append, F::Ndjson, rows(0, 3)),
                ],
            )
            .await,
        filled.commit(&["/b.csv"], vec![]).await,
    ];
    (filled, commits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repo_is_read_as_of_any_commit() {
    let (filled, commits) = filled().await;
    let check = async |sql: &str, expected: &str| filled.check(sql, expected).await;
    check("select count(*) from e_v", "15").await;
    check("select count(*) from e_v as of 'master~1'", "20").await;
    check("select count(*) from e_v as of '~2'", "10").await;
    check("select count(*) from e_v AS OF 'e_v@master^'", "20").await;
    check(&format!("select count(*) from e_v as of '{}'", &commits[0].header.id[..12]), "10").await;
    check("select count(*) from \"e-v@master~1\"", "20").await;
    check("select count(*) from \"e_v@~1:/a\"", "15").await;
    check("select count(*) from \"e_v_dead_letter@~1\"", "3").await;
    check("select count(*) from e_v_a as of '~2'", "10").await;
    check("select count(*) from e_v_dead_letter as of '~1' as d where d.id < 2", "2").await;
    check("select count(e_v.id) from e_v as of '~1'", "20").await;
    let joined =
        "select n.id from e_v n left join e_v as of '~2' o on n.id = o.id where o.id is null order by 1 limit 2";
    check(joined, "10;11").await;
    check("with a as (select * from e_v as of '~2') select (select count(*) from a) - count(*) from e_v", "-5").await;
    let at = At::from([("e-v".to_owned(), "e-v~1".parse().unwrap())]);
    let both = "select (select count(*) from e_v) - (select count(*) from e_v as of '~2')";
    let found = query(&filled.store, both, &at).await.unwrap().collect().await.unwrap();
    assert_eq!(found[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0), 10);
    filled.refused("select * from e_v as of '~9'", "E0512", "~9").await;
    filled.refused("select * from e_v as of 'nope'", "E0511", "nope").await;
    filled.refused("select * from e_v as of 'a b'", "E0514", "e-v@a b").await;
    filled.refused("select * from \"e_v@dev~x\"", "E0514", "e-v@dev~x").await;
    filled.refused("select * from nope as of '~1'", "E0550", "`nope`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_rows() {
    let (filled, commits) = filled().await;
    let check = async |sql: &str, expected: &str| filled.check(sql, expected).await;
    check("select rows, files, removed, dead_letters, reason, pipeline from commits('e-v') order by number", {
        "0,1,0,0,rows,events;0,3,0,0,rows,events;0,0,1,0,rows,events"
    })
    .await;
    check("select branch, count(*), count(parent) from commits('e-v') c group by c.branch", "master,3,2").await;
    check("select count(*) from commits('e-v@master~1')", "2").await;
    check(&format!("select commit = '{}' from commits('e-v@~2')", commits[0].header.id), "true").await;
    check("select count(*) from commits('e-v') where started <= finished and finished > '2020-01-01'", "3").await;
    check("select arrow_typeof(finished) from commits('e-v~2')", "Timestamp(ms,\"+00:00\")").await;
    let pairs = "select count(*) from commits('e-v') a join commits('e-v@master') b on a.commit = b.parent";
    check(pairs, "2").await;
    check("select sum(rows), sum(bytes) > 0 from commits('e-v')", "0,true").await;
    check("select commits.rows from commits('e-v~2')", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_rows() {
    let (filled, _) = filled().await;
    let check = async |sql: &str, expected: &str| filled.check(sql, expected).await;
    check("select path, format, rows, pieces from files('e-v@master~1')", {
        "/a/x.parquet,parquet,15,2;/b.csv,csv,5,1;/dead-letter/x,ndjson,3,1"
    })
    .await;
    check("select count(*), min(length(sha256)), min(size) > 0 from files('e-v~1:/a')", "1,64,true").await;
    check("select count(*), sum(rows), sum(size) > 0 from files('e-v')", "2,18,true").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_say_how_they_are_called() {
    let (filled, _) = filled().await;
    let refused = async |sql: &str, expected: &str, says: &str| filled.refused(sql, expected, says).await;
    refused("select * from commits()", "E0560", "write commits('repo')").await;
    refused("select * from commits('e-v', 'x')", "E0560", "2 arguments").await;
    refused("select * from commits(1)", "E0560", "1 is not a text in single quotes").await;
    refused("select * from files(\"e-v\")", "E0560", "\"e-v\" is not a text").await;
    refused("select * from diff('e-v')", "E0560", "1 arguments").await;
    refused("select * from Diff('e-v', name)", "E0560", "name is not a text").await;
    refused("select * from commits('nope')", "E0510", "nope").await;
    refused("select * from commits('e-v@nope')", "E0511", "nope").await;
    refused("select * from files('e-v@@')", "E0514", "e-v@@").await;
    refused("select * from diff('e-v~1', 'e-v', '../x')", "E0516", "..").await;
    refused("select * from diff('e-v~1', 'e-v', '/none')", "E0552", "e-v@master").await;
    refused("select * from nope('e-v')", "E0550", "nope").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_that_differ_are_found() {
    let (filled, _) = filled().await;
    let check = async |sql: &str, expected: &str| filled.check(sql, expected).await;
    let counts = |from: &str| format!("select _change, count(*), min(id), max(id) from {from} group by 1 order by 1");
    check(&counts("diff('e-v~2', 'e-v~1')"), "insert,10,10,104").await;
    check(&counts("diff('e-v~1', 'e-v')"), "delete,5,100,104").await;
    check(&counts("diff('e-v', 'e-v~2')"), "delete,5,10,14").await;
    check(&counts("diff('e-v~2', 'e-v~1', '/a')"), "insert,5,10,14").await;
    check(&counts("diff('e-v~2:/a', 'e-v~1:/a/')"), "insert,5,10,14").await;
    check(&counts("diff('e-v~2', 'e-v~1', '/dead-letter')"), "insert,3,0,2").await;
    check(&counts("diff('e-v', 'e-v')"), "").await;
    check("select * from diff('e-v~1', 'e-v') order by id limit 1", "delete,100,name,\"100\",").await;
    check("select d.name from diff('e-v~2', 'e-v~1') d where d.id = 11 and d._change = 'insert'", "name,\"11\"").await;
    check("select count(*) from diff('e-v~2', 'e-v~1')", "10").await;
    let plan = "explain select * from diff('e-v~2', 'e-v~1', '/a') where id = 100";
    let plan = shown(&filled.store, plan).await.unwrap();
    assert!(plan.contains("files=0/1"), "a condition on rows leaves out files: {plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_written_anew_are_no_difference() {
    use {
        Format as F,
        PutMode::{Append, Overwrite},
    };
    let mut filled = Filled::new().await;
    for n in 0..4i64 {
        let path = format!("/e/{n}.parquet");
        filled.commit(&[], vec![(&path, Append, F::Parquet, rows(n * 10, n * 10 + 10))]).await;
    }
    // As compaction does, into one file of another format, but one row is lost and another is there twice.
    let gone: Vec<String> = (0..4).map(|n| format!("/e/{n}.parquet")).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    filled.commit(&gone, vec![("/e/all.arrow", Append, F::Arrow, rows(0, 40))]).await;
    filled.check("select count(*) from diff('e-v~1', 'e-v')", "0").await;
    let twice = vec![
        ("/e/all.arrow", Overwrite, F::Arrow, rows(1, 40)),
        ("/e/more.csv", Append, F::Csv, rows(39, 40)),
        ("/e/more.ndjson", Append, F::Ndjson, rows(39, 40)),
    ];
    filled.commit(&[], twice).await;
    filled.check("select _change, id from diff('e-v~1', 'e-v') order by id", "delete,0;insert,39;insert,39").await;
    filled.check("select _change, id from diff('e-v~2', 'e-v') order by id", "delete,0;insert,39;insert,39").await;
    filled.check("select count(*) from diff('e-v~4', 'e-v') where _change = 'insert'", "22").await;
    // A column more is no difference where it is null.
    let mut fields: Vec<_> = rows(0, 1).schema().fields().to_vec();
    fields.push(Arc::new(Field::new("more", DataType::Utf8, true)));
    let mut columns = rows(1, 40).columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter((1..40).map(|id| (id == 7).then_some("new")))));
    let wider = RecordBatch::try_new(Schema::new(fields).into(), columns).unwrap();
    filled.commit(&[], vec![("/e/all.arrow", Overwrite, F::Parquet, wider)]).await;
    filled.check("select _change, id, more from diff('e-v~1', 'e-v') order by 1", "delete,7,;insert,7,new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diff_does_not_read_what_both_have() {
    let mut filled = Filled::new().await;
    use {Format as F, PutMode::Append};
    filled.commit(&[], vec![("/old", Append, F::Parquet, rows(0, 20_000))]).await;
    filled.commit(&[], vec![("/new", Append, F::Parquet, rows(5, 8))]).await;
    let data = filled.dir.path().join("repos/e-v/tables/master/_root");
    for entry in std::fs::read_dir(data).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    filled.refused("select sum(id) from e_v", "E0523", "it is missing").await;
    filled.check("select sum(id) from diff('e-v~1', 'e-v')", "18").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compared_is_refused() {
    use {Format as F, PutMode::Overwrite};
    let mut filled = Filled::new().await;
    let named = |name: &str, array: arrow::array::ArrayRef| RecordBatch::try_from_iter([(name, array)]).unwrap();
    let number: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let text: arrow::array::ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    filled.commit(&[], vec![("/x", Overwrite, F::Parquet, named("a", Arc::clone(&number)))]).await;
    filled.commit(&[], vec![("/x", Overwrite, F::Parquet, named("a", text))]).await;
    filled.refused("select * from diff('e-v~1', 'e-v')", "E0543", "e-v@master~1").await;
    filled.commit(&[], vec![("/x", Overwrite, F::Parquet, named("_change", number))]).await;
    filled.refused("select * from diff('e-v', 'e-v')", "E0561", "_change").await;
}
