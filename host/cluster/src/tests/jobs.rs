//! Tasks, words, orders, and ends of jobs.

use super::*;

fn word(task: usize, what: &'static [u8]) -> Said {
    Said { task, what: Bytes::from_static(what) }
}

#[tokio::test]
async fn words_come_at_once_and_orders_go_to_every_task() {
    let two = Two::meet().await;
    let mut job = two.start(&[(&two.leader, "obey"), (&two.worker, "obey")]);
    let mut said = Vec::new();
    for orders in [None, Some("more"), Some("cut")] {
        if let Some(order) = orders {
            job.orders.send(Bytes::from(order)).unwrap();
        }
        // Both tasks are still running, so a word that waited for company would never come.
        for _ in 0..2 {
            said.push(soon(job.said.next()).await.unwrap().unwrap());
        }
    }
    assert!(soon(job.said.next()).await.is_none(), "it is over while orders could still be sent");
    said.sort_by_key(|said| said.task);
    let expected = [(0, "here"), (0, "more"), (0, "cut"), (1, "here"), (1, "more"), (1, "cut")];
    assert_eq!(said, expected.map(|(task, what)| word(task, what.as_bytes())));
}

#[tokio::test]
async fn a_job_of_one_task_runs_where_it_is_sent() {
    let two = Two::meet().await;
    for site in [&two.leader, &two.worker] {
        let others = if Arc::ptr_eq(&site.doing, &two.leader.doing) { &two.worker } else { &two.leader };
        let before = others.doing.said.load(Ordering::SeqCst);
        let said = all(two.start(&[(site, "say 3 8")])).await.unwrap();
        assert_eq!(said.len(), 3);
        assert_eq!(others.doing.said.load(Ordering::SeqCst), before);
    }
    assert_eq!(two.leader.doing.said.load(Ordering::SeqCst), 3);
    assert_eq!(two.worker.doing.said.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_job_without_tasks_is_over() {
    let two = Two::meet().await;
    assert_eq!(all(two.start(&[])).await, Ok(Vec::new()));
}

#[tokio::test]
async fn words_of_a_task_keep_their_order() {
    let two = Two::meet().await;
    let said = all(two.start(&[(&two.leader, "say 500 8"), (&two.worker, "say 500 100000")])).await.unwrap();
    for task in 0..2 {
        let numbers = said.iter().filter(|said| said.task == task);
        let numbers: Vec<usize> =
            numbers.map(|said| usize::from_le_bytes(said.what[..8].try_into().unwrap())).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_goes_wrong_names_the_member_and_no_task_runs_twice() {
    let two = Two::meet().await;
    for (what, why) in [("fail", "no such partition"), ("panic", "it panicked")] {
        for site in [&two.leader, &two.worker] {
            let lost = all(two.start(&[(&two.leader, "hold"), (site, what)])).await.unwrap_err();
            assert_eq!(lost.member, site.id());
            assert!(lost.reason.contains(why), "{lost}");
        }
    }
    let lost = all(start(&two.leading, &[("nobody".to_owned(), "say 1 8")])).await.unwrap_err();
    assert_eq!((lost.member.as_str(), lost.reason.as_str()), ("nobody", "it is no member any more"));
    soon(two.leader.doing.idle()).await;
    soon(two.worker.doing.idle()).await;
    two.is_well().await;
}

#[tokio::test]
async fn a_word_that_is_too_large_ends_its_task() {
    let two = Two::meet().await;
    let larger = format!("say 1 {}", crate::engine::LARGEST + 1);
    let lost = all(two.start(&[(&two.worker, &larger)])).await.unwrap_err();
    assert!(lost.reason.contains("are the most"), "{lost}");
    two.is_well().await;
}

#[tokio::test]
async fn tasks_end_with_whoever_listens() {
    let two = Two::meet().await;
    let mut job = two.start(&[(&two.leader, "hold"), (&two.worker, "hold"), (&two.worker, "say 1000000 1000")]);
    soon(job.said.next()).await.unwrap().unwrap();
    drop(job);
    soon(two.leader.doing.idle()).await;
    soon(two.worker.doing.idle()).await;
    two.is_well().await;
}

#[tokio::test]
async fn jobs_that_are_given_up_at_once_harm_nobody() {
    let two = Two::meet().await;
    for round in 0..300 {
        let mut job = two.start(&[(&two.leader, "hold"), (&two.worker, "hold"), (&two.worker, "fail")]);
        // Some before their tasks have started, some while they do.
        for _ in 0..round % 3 {
            drop(soon(job.said.next()).await);
        }
        for _ in 0..round % 50 {
            tokio::task::yield_now().await;
        }
    }
    let many: Vec<Job> = (0..100).map(|_| two.start(&[(&two.worker, "hold"), (&two.worker, "hold")])).collect();
    tokio::task::yield_now().await;
    drop(many);
    soon(two.leader.doing.idle()).await;
    soon(two.worker.doing.idle()).await;
    two.is_well().await;
    assert!(!two.following.is_finished(), "it was never out");
}

#[tokio::test]
async fn who_does_not_listen_is_not_flooded() {
    let two = Two::meet().await;
    let mut job = two.start(&[(&two.worker, "say 10000 1000000")]);
    soon(job.said.next()).await.unwrap().unwrap();
    // A whole job goes by in the same two processes, on the same connection.
    assert_eq!(all(two.start(&[(&two.worker, "say 2000 8")])).await.map(|said| said.len()), Ok(2000));
    let ahead = two.worker.doing.said.load(Ordering::SeqCst) - 2000;
    assert!(ahead < 64, "{ahead} words of a megabyte wait");
}

#[tokio::test]
async fn a_worker_that_goes_takes_its_job_with_it() {
    let two = Two::meet().await;
    let (leader, id) = (&two.leader, two.worker.id());
    let mut job = two.start(&[(leader, "hold"), (&two.worker, "hold")]);
    for _ in 0..2 {
        soon(job.said.next()).await.unwrap().unwrap();
    }
    two.following.abort();
    let Two { leader, leading, worker, .. } = two;
    drop(worker);
    let lost = soon(job.said.next()).await.unwrap().unwrap_err();
    assert_eq!(lost.member, id);
    assert!(soon(job.said.next()).await.is_none());
    members(&leading, |members| members.len() == 1).await;
    soon(leader.doing.idle()).await;
    assert_eq!(all(start(&leading, &[(leader.id(), "say 1 8")])).await.map(|said| said.len()), Ok(1));
}
