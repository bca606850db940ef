//! What commits and queries cost: `cargo test --release repo::tests::cost -- --ignored --nocapture --test-threads 1`.

use std::{fs::File, io::Write, path::Path, time::Duration};

use super::*;
use crate::clock;

/// What the store below does for one object, by hand: stage, sync, link, sync the directory.
fn bare(dir: &Path, n: u64, bytes: &[u8]) {
    let (staged, name) = (dir.join(format!("{n}#1")), dir.join(n.to_string()));
    let mut file = File::create(&staged).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    std::fs::hard_link(&staged, &name).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
    std::fs::remove_file(&staged).unwrap();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn timed(what: &str, work: impl Future<Output = ()>) {
    let start = clock::now();
    work.await;
    println!("{what}: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it alone"]
async fn a_one_row_commit_costs_about_what_the_disk_does() {
    let (store, dir) = local().await;
    let bare_dir = dir.path().join("bare");
    std::fs::create_dir(&bare_dir).unwrap();
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let count = 2000u64;
    for n in 0..count {
        let row = rows(i64::try_from(n).unwrap(), i64::try_from(n).unwrap() + 1);
        let start = clock::now();
        let mut open = repo.open_commit();
        let table = encode(Format::Parquet, &row);
        open.put_table(&format!("/events/{n}.parquet"), PutMode::Append, table).await.unwrap();
        let commit = committed(writer.finish(open, meta(n.checked_sub(1), n)).await);
        ours.push(start.elapsed());
        let bytes = vec![b'x'; serde_json::to_vec(&commit).unwrap().len()];
        let start = clock::now();
        bare(&bare_dir, n, &bytes);
        theirs.push(start.elapsed());
    }
    let early = median(ours[..200].to_vec());
    let late = median(ours[ours.len() - 200..].to_vec());
    println!("commit {:?}, bare {:?}; first 200 {early:?}, newest 200 {late:?}", median(ours), median(theirs));
    timed("opening a writer", async { drop(repo.writer("master", "events").await.unwrap()) }).await;
    let sum = async {
        let found = query(&store, "select sum(id) from events", &At::new()).await.unwrap().collect().await.unwrap();
        assert_eq!(found[0].num_rows(), 1);
    };
    timed("sum by SQL", sum).await;
    let check = async { assert!(fsck(&store, None, Depth::Everything).await.unwrap().findings.is_empty()) };
    timed("fsck", Box::pin(check)).await;
}
