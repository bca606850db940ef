//! Queues that are full, receivers that are slow or gone, and stops.

use std::sync::Mutex;

use tokio::time::timeout;

use super::*;

/// Delivers when it is allowed to; fails at a 13.
struct Gate {
    open: Arc<Semaphore>,
    delivered: Arc<Mutex<Vec<u32>>>,
    broken: CancellationToken,
}

#[async_trait]
impl Deliver for Gate {
    type Parcel = u32;

    async fn deliver(&mut self, parcel: u32, _room: Room) -> Result<(), Error> {
        self.open.acquire().await.unwrap().forget();
        assert_ne!(parcel, 14, "unluckier");
        if parcel == 13 {
            return Err(Error::Spec { consumer: "gate", reason: "unlucky".into() });
        }
        self.delivered.lock().unwrap().push(parcel);
        Ok(())
    }

    async fn broken(&mut self) -> Error {
        self.broken.cancelled().await;
        Error::Spec { consumer: "gate", reason: "broken".into() }
    }

    async fn close(self, _patience: Duration) -> Result<(), Error> {
        self.delivered.lock().unwrap().push(99);
        Ok(())
    }
}

struct Scene {
    outbox: Outbox<u32>,
    open: Arc<Semaphore>,
    delivered: Arc<Mutex<Vec<u32>>>,
    stop: CancellationToken,
    broken: CancellationToken,
}

fn scene(when_full: WhenFull, timeout_ms: u64) -> Scene {
    let (open, delivered) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<u32>>>::default());
    let broken = CancellationToken::new();
    let gate = Gate { open: Arc::clone(&open), delivered: Arc::clone(&delivered), broken: broken.clone() };
    let timeout = Period(Duration::from_millis(timeout_ms));
    let spec = QueueSpec { bytes: ByteSize(4096), when_full, timeout };
    let stop = CancellationToken::new();
    Scene { outbox: Outbox::new("gate", &spec, stop.clone(), gate), open, delivered, stop, broken }
}

#[tokio::test]
async fn everything_is_delivered_in_order_before_a_flush_ends() {
    let mut scene = scene(WhenFull::Block, 10_000);
    for parcel in 0..4 {
        scene.outbox.put(parcel, 1000, 1).await.unwrap();
    }
    let pending = timeout(Duration::from_millis(20), scene.outbox.put(4, 1000, 1)).await;
    assert!(pending.is_err(), "full");
    scene.open.add_permits(100);
    scene.outbox.put(4, 1_000_000, 1).await.unwrap();
    scene.outbox.flush().await.unwrap();
    assert_eq!(*scene.delivered.lock().unwrap(), [0, 1, 2, 3, 4]);
    scene.outbox.finish().await.unwrap();
    assert_eq!(scene.delivered.lock().unwrap().last(), Some(&99));
}

#[tokio::test]
async fn a_flush_has_an_end_and_so_has_a_full_queue_when_the_pipeline_stops() {
    let mut scene = scene(WhenFull::Block, 20);
    scene.outbox.put(1, 4096, 1).await.unwrap();
    assert!(matches!(scene.outbox.flush().await, Err(Error::Slow { .. })));
    scene.stop.cancel();
    assert!(matches!(scene.outbox.put(2, 4096, 1).await, Err(Error::Slow { .. })));
    assert!(matches!(scene.outbox.finish().await, Err(Error::Slow { .. })));
}

#[tokio::test]
async fn nobody_who_takes_nothing_is_waited_for_at_a_stop() {
    let mut scene = scene(WhenFull::Block, 3_600_000);
    scene.outbox.put(1, 4096, 1).await.unwrap();
    scene.stop.cancel();
    scene.outbox.patience = Duration::from_millis(20);
    let patience = Duration::from_secs(20);
    let (flushed, stalled) = (timeout(patience, scene.outbox.flush()).await, scene.outbox.delivered.clone());
    assert!(matches!(flushed, Ok(Err(Error::Slow { .. }))), "{flushed:?}");
    assert_eq!(stalled.load(Ordering::Relaxed), 0);
    let finished = timeout(patience, scene.outbox.finish()).await;
    assert!(matches!(finished, Ok(Err(Error::Slow { .. }))), "{finished:?}");
}

#[tokio::test]
async fn who_takes_a_little_now_and_then_is_not_waited_for_at_a_stop() {
    let mut scene = scene(WhenFull::Block, 100_000);
    scene.outbox.patience = Duration::from_millis(500);
    for parcel in 0..4 {
        scene.outbox.put(parcel, 1000, 1).await.unwrap();
    }
    let open = Arc::clone(&scene.open);
    // Never nothing for as long as that, and yet not everything soon.
    let trickling = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(400)).await;
            open.add_permits(1);
        }
    });
    scene.stop.cancel();
    let flushed = timeout(Duration::from_secs(20), scene.outbox.flush()).await;
    assert!(matches!(flushed, Ok(Err(Error::Slow { .. }))), "{flushed:?}");
    trickling.abort();
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted_if_asked() {
    let mut scene = scene(WhenFull::Drop, 20);
    for parcel in 0..10 {
        scene.outbox.put(parcel, 2048, 5).await.unwrap();
    }
    assert_eq!(scene.outbox.dropped, 40);
    scene.outbox.flush().await.unwrap();
    scene.open.add_permits(100);
    scene.outbox.finish().await.unwrap();
    assert_eq!(*scene.delivered.lock().unwrap(), [0, 1, 99]);
}

#[tokio::test]
async fn a_failure_is_told_to_whoever_comes_next() {
    let mut scene = scene(WhenFull::Block, 10_000);
    scene.open.add_permits(100);
    scene.outbox.put(13, 4096, 1).await.unwrap();
    let waiting = scene.outbox.put(1, 4096, 1).await;
    let told = waiting.and(scene.outbox.flush().await);
    assert!(matches!(told, Err(Error::Spec { .. })), "{told:?}");
    assert!(matches!(scene.outbox.flush().await, Err(Error::Lost { .. })));
}
#[tokio::test]
async fn what_was_not_delivered_for_a_panic_is_not_flushed() {
    let mut scene = scene(WhenFull::Block, 10_000);
    scene.outbox.put(14, 1024, 1).await.unwrap();
    scene.open.add_permits(100);
    let told = scene.outbox.flush().await;
    assert!(matches!(told, Err(Error::Lost { consumer: "gate" })), "{told:?}");
}

#[tokio::test]
async fn a_delivery_that_fails_is_known_where_nothing_more_comes() {
    let patience = Duration::from_secs(20);
    for (parcel, expected) in [(13, "unlucky"), (14, "has stopped"), (0, "broken")] {
        let mut scene = scene(WhenFull::Drop, 10_000);
        scene.open.add_permits(100);
        let sound = timeout(Duration::from_millis(1), scene.outbox.failed()).await;
        assert!(sound.is_err(), "{sound:?}");
        if parcel > 0 {
            scene.outbox.put(parcel, 1, 1).await.unwrap()
        } else {
            scene.broken.cancel()
        }
        let failed = timeout(patience, scene.outbox.failed()).await.unwrap();
        assert!(failed.to_string().contains(expected), "{failed}");
        assert!(scene.outbox.put(1, 1, 1).await.is_err());
    }
}
