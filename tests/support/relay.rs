//! A port of loopback behind which there is another one, until it is cut off: a server that goes away, as its clients see it.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// What its threads share.
#[derive(Debug, Default)]
struct Shared {
    down: AtomicBool,
    /// Nothing that comes is passed on.
    deaf: AtomicBool,
    accepted: AtomicUsize,
    /// Both ends of each connection.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A port that leads to another one.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

impl Relay {
    /// A port that leads to this one of loopback.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, shared) = (listener.local_addr()?.port(), Arc::new(Shared::default()));
        let common = Arc::clone(&shared);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                common.accepted.fetch_add(1, Ordering::SeqCst);
                if common.down.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", to)) {
                    // Whoever cannot be led on is closed.
                    drop(Shared::lead(&common, client, server));
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Breaks all connections, and closes new ones at once until it is `up` again.
    pub fn down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        let open = std::mem::take(&mut *self.shared.open.lock().unwrap_or_else(PoisonError::into_inner));
        for (client, server) in open {
            // They may be closed already.
            drop(client.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        }
    }

    /// Leads on again.
    pub fn up(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// Whether what comes, from either side, vanishes, while connections stay open: as behind a router that was restarted.
    pub fn swallow(&self, all: bool) {
        self.shared.deaf.store(all, Ordering::SeqCst);
    }

    /// Connections that were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The connections that are open now become the most that there were.
    pub fn count_anew(&self) {
        self.shared.most.store(self.shared.now.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.now.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn lead(shared: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
        shared.open.lock().unwrap_or_else(PoisonError::into_inner).push((client, server));
        let now = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most.fetch_max(now, Ordering::SeqCst);
        let common = Arc::clone(shared);
        thread::spawn(move || pass(&common, from, to));
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            pass(&shared, back_from, back_to);
            shared.now.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }
}

/// Passes on until one side ends, then ends the other.
fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if shared.deaf.load(Ordering::SeqCst) {
            continue;
        }
        if bytes.get(..read).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    // They may be closed already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
