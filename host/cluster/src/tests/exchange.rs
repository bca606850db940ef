//! Jobs of two stages: what tasks of the first say to those of the second arrives there, from every process in every process.

use super::*;

/// Numbers of the words of a task.
fn numbers(said: &[Said], task: usize) -> Vec<usize> {
    let own = said.iter().filter(|said| said.task == task);
    own.map(|said| usize::from_le_bytes(said.what[..8].try_into().unwrap())).collect()
}

#[tokio::test]
async fn words_go_to_the_gather_that_they_are_for() {
    let two = Two::meet().await;
    let sites = [two.leader.id(), two.worker.id()];
    for (readers, gathers) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (8, 16)] {
        let at = |number: usize, what: &'static str| (sites[number % 2].clone(), what);
        let deal = format!("deal {gathers} say 100 1000");
        let deal: &'static str = deal.leak();
        let tasks: Vec<_> = (0..readers).map(|number| at(number, deal)).collect();
        let echoes: Vec<_> = (0..gathers).map(|number| at(number + 1, "echo")).collect();
        let said = all(exchange(&two.leading, &tasks, &echoes)).await.unwrap();
        for reader in 0..readers {
            assert_eq!(numbers(&said, reader), (0..10).map(|n| n * 10).collect::<Vec<_>>(), "{readers}, {gathers}");
        }
        for gather in 0..gathers {
            let got = numbers(&said, readers + gather);
            // The last word is its own.
            let mut expected: Vec<usize> = (0..100).filter(|n| n % 10 > 0 && n % gathers == gather).collect();
            let of_one = got.iter().filter(|n| **n == expected.first().copied().unwrap_or(usize::MAX)).count();
            assert_eq!(of_one, if expected.is_empty() { 0 } else { readers }, "{readers}, {gathers}: {got:?}");
            expected = expected.into_iter().flat_map(|n| std::iter::repeat_n(n, readers)).collect();
            let mut sorted = got[..got.len() - 1].to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, expected, "{readers}, {gathers}");
        }
    }
    soon(two.leader.doing.idle()).await;
    soon(two.worker.doing.idle()).await;
    two.is_well().await;
}

#[tokio::test]
async fn words_come_at_once_and_orders_go_to_both_stages() {
    let two = Two::meet().await;
    let (one, other) = (two.leader.id(), two.worker.id());
    let mut job = exchange(&two.leading, &[(one, "obey")], &[(other, "obey")]);
    let mut said = Vec::new();
    for order in [None, Some("more"), Some("cut")] {
        if let Some(order) = order {
            job.orders.send(Bytes::from(order)).unwrap();
        }
        for _ in 0..2 {
            said.push(soon(job.said.next()).await.unwrap().unwrap());
        }
    }
    assert!(soon(job.said.next()).await.is_none(), "it is over");
    assert_eq!(said.iter().filter(|said| said.task == 1).count(), 3);
}

/// Whoever takes nothing does not stop what others say to the leader, or to each other.
#[tokio::test]
async fn a_gather_that_is_slow_stops_nobody_else() {
    let two = Two::meet().await;
    let (one, other) = (two.leader.id(), two.worker.id());
    let deal = "deal 2 say 600 100000";
    let tasks = [(one.clone(), deal), (other.clone(), deal)];
    let mut job = exchange(&two.leading, &tasks, &[(one, "echo"), (other, "hold")]);
    let mut heard = [0; 4];
    while heard[0] < 60 || heard[1] < 60 || heard[2] < 2 * 240 {
        let said = soon(job.said.next()).await.unwrap().unwrap();
        heard[said.task] += 1;
    }
    drop(job);
    soon(two.leader.doing.idle()).await;
    soon(two.worker.doing.idle()).await;
    two.is_well().await;
}

#[tokio::test]
async fn what_goes_wrong_in_either_stage_ends_the_job_everywhere() {
    let two = Two::meet().await;
    let (one, other) = (two.leader.id(), two.worker.id());
    for (task, gather) in [("fail", "hold"), ("hold", "fail"), ("panic", "hold"), ("hold", "panic")] {
        for (reader, gatherer) in [(&one, &other), (&other, &one), (&other, &other)] {
            let lost = all(exchange(&two.leading, &[(reader.clone(), task)], &[(gatherer.clone(), gather)])).await;
            let lost = lost.unwrap_err();
            let expected = if task == "hold" { gatherer } else { reader };
            assert_eq!(lost.member, *expected, "{task}, {gather}: {lost}");
            soon(two.leader.doing.idle()).await;
            soon(two.worker.doing.idle()).await;
        }
    }
    two.is_well().await;
}

#[tokio::test]
async fn a_member_of_either_stage_that_is_gone_ends_the_job() {
    for reads in [true, false] {
        let two = Two::meet().await;
        let (one, other) = (two.leader.id(), two.worker.id());
        let (reader, gatherer) = if reads { (other.clone(), one) } else { (one, other.clone()) };
        let mut job = exchange(&two.leading, &[(reader, "hold")], &[(gatherer, "hold")]);
        for _ in 0..2 {
            soon(job.said.next()).await.unwrap().unwrap();
        }
        let Two { worker, leader, following, .. } = two;
        following.abort();
        drop(worker);
        let lost = soon(job.said.next()).await.unwrap().unwrap_err();
        assert_eq!(lost.member, other, "{lost}");
        soon(leader.doing.idle()).await;
    }
}
