//! Cables that are cut: nobody closes anything, bytes just come no longer.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;

/// Passes connections on to another address, until it is cut.
struct Cable {
    address: SocketAddr,
    cut: CancellationToken,
    _passing: JoinSet<()>,
}

impl Cable {
    async fn to(end: Arc<std::sync::OnceLock<String>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = CancellationToken::new();
        let whole = cut.clone();
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(end.get().unwrap()).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                connections.spawn(pass(near_in, far_out, whole.clone()));
                connections.spawn(pass(far_in, near_out, whole.clone()));
            }
        });
        Self { address, cut, _passing: passing }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: CancellationToken,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        tokio::select! {
            biased;
            () = cut.cancelled() => std::future::pending().await,
            read = from.read(&mut bytes) => match read {
                Ok(some) if some > 0 => if to.write_all(&bytes[..some]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

/// A leader and a member with a cable each way.
struct Apart {
    leader: Site,
    leading: Leading,
    worker: Site,
    following: JoinHandle<Result<Followed, Error>>,
    there: Cable,
    back: Cable,
}

impl Apart {
    async fn meet() -> Self {
        let leader = Site::open(impatient()).await.unwrap();
        let leading = leader.station.lead(FLEET).unwrap();
        let end = Arc::new(std::sync::OnceLock::new());
        let there = Cable::to(Arc::clone(&end)).await;
        let advertise = Some(there.address.to_string());
        // Its port is known only once it listens.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        end.set(listen.to_string()).unwrap();
        let worker = Site::open(Settings { listen, advertise, ..impatient() }).await.unwrap();
        let back = Cable::to(Arc::new(leader.station.address().into())).await;
        let (station, address) = (Arc::clone(&worker.station), back.address.to_string());
        let following = tokio::spawn(async move { station.follow(&address, FLEET, &CancellationToken::new()).await });
        members(&leading, |members| members.len() == 2).await;
        Self { leader, leading, worker, following, there, back }
    }

    async fn start(&self) -> Job {
        let mut job = start(&self.leading, &[(self.leader.id(), "hold"), (self.worker.id(), "hold")]);
        for _ in 0..2 {
            soon(job.said.next()).await.unwrap().unwrap();
        }
        job
    }
}

#[tokio::test]
async fn a_cut_loses_the_job_at_both_ends() {
    let Apart { leader, leading, worker, following, there, back } = Apart::meet().await;
    let all = Apart { leader, leading, worker, following, there, back };
    let mut job = all.start().await;
    all.there.cut.cancel();
    all.back.cut.cancel();
    let lost = soon(job.said.next()).await.unwrap().unwrap_err();
    assert_eq!(lost.member, all.worker.id());
    members(&all.leading, |members| members.len() == 1).await;
    // The worker hears of nothing, and yet it ends what it was doing, and looks for a leader.
    soon(all.worker.doing.idle()).await;
    assert!(matches!(soon(all.following).await.unwrap().unwrap(), Followed::Silent { .. }));
    soon(all.leader.doing.idle()).await;
}

#[tokio::test]
async fn a_cut_of_either_way_is_a_cut() {
    for engine in [true, false] {
        let all = Apart::meet().await;
        let mut job = all.start().await;
        if engine { &all.there } else { &all.back }.cut.cancel();
        let lost = soon(job.said.next()).await.unwrap().unwrap_err();
        assert_eq!(lost.member, all.worker.id());
        members(&all.leading, |members| members.len() == 1).await;
        soon(all.worker.doing.idle()).await;
        let followed = soon(all.following).await.unwrap().unwrap();
        assert_eq!(matches!(followed, Followed::Expelled { .. }), engine, "{followed:?}");
    }
}
