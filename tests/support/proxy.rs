//! A server that is in the way: the first connections meet what it was told to do, later ones go through to the real server.
//!
//! **Invariant**: it does each thing once, and nothing of it outlives the process.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;

/// What a connection meets.
#[derive(Clone, Debug)]
pub enum Trick {
    /// It is accepted, what it sends is read, and nothing ever comes back.
    Silence,
    /// It gets these bytes at once, and the end.
    Say(Vec<u8>),
    /// It gets these bytes in answer to whatever it sends first, and the end.
    Answer(Vec<u8>),
    /// The real server answers, and after so many bytes of that, it ends.
    Cut(usize),
    /// The real server answers, but the byte at this place has all its bits turned.
    Flip(usize),
}

/// Such a server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    met: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a port of loopback, in front of `server`.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(server: String, tricks: Vec<Trick>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, met) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&met);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let trick = tricks.get(counted.fetch_add(1, Ordering::SeqCst)).cloned();
                let server = server.clone();
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(serve(client, &server, trick)));
            }
        });
        Ok(Self { port, met })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, server: &str, trick: Option<Trick>) -> io::Result<()> {
    let mut some = [0; 4096];
    match &trick {
        Some(Trick::Silence) => {
            io::copy(&mut client, &mut io::sink())?;
            return Ok(());
        }
        Some(Trick::Say(bytes)) => return client.write_all(bytes),
        Some(Trick::Answer(bytes)) => {
            let _ = client.read(&mut some)?;
            return client.write_all(bytes);
        }
        _ => {}
    }
    let mut server = TcpStream::connect(server)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
    let mut passed = 0;
    loop {
        let count = server.read(&mut some)?;
        let mut bytes = some[..count].to_vec();
        match trick {
            Some(Trick::Cut(after)) if passed + count >= after => bytes.truncate(after - passed),
            Some(Trick::Flip(at)) if (passed..passed + count).contains(&at) => bytes[at - passed] ^= 0xff,
            _ => {}
        }
        client.write_all(&bytes)?;
        passed += count;
        if count == 0 || bytes.len() < count {
            client.shutdown(Shutdown::Both)?;
            return server.shutdown(Shutdown::Both);
        }
    }
}
