//! The API at a socket of this machine, for processes of the same user: what has no server is steered through it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use spout_base::rendezvous;
use spout_wire::serve_own;
use tokio::net::UnixListener;

use crate::{Error, Service, router};

/// A socket that is open, and not yet answered. It is gone with this.
#[derive(Debug)]
pub struct Control {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Control {
    /// Opens the socket at which this process is asked about `store`.
    ///
    /// # Errors
    /// [`Error::Control`].
    pub fn open(store: &str) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Control { path, source }
        };
        let path = rendezvous::own(store).map_err(failed(&rendezvous::directory()))?;
        // One that is there before it listens is taken for what a killed process left, and removed by whoever looks for others.
        let being_made = path.with_extension("new");
        for left in [&path, &being_made] {
            // Of a process that had this number before.
            match fs::remove_file(left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(left)(error)),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&being_made).map_err(failed(&being_made))?;
        let mut control = Self { listener: Some(listener), path: being_made };
        fs::set_permissions(&control.path, fs::Permissions::from_mode(0o600)).map_err(failed(&control.path))?;
        fs::rename(&control.path, &path).map_err(failed(&path))?;
        control.path = path;
        Ok(control)
    }

    /// Answers until `service` stops.
    pub async fn serve(mut self, service: Service) {
        let stop = service.stop.clone();
        if let Some(listener) = self.listener.take() {
            serve_own(listener, rendezvous::user(), router(Arc::new(service)), stop).await;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Where it is gone already, that is as good.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_looks_for_others_removes_no_socket_that_is_being_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (store, over) = (dir.path().display().to_string(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    drop(rendezvous::others(&store));
                }
            });
            let mut lost = 0;
            for _ in 0..2000 {
                let control = Control::open(&store).unwrap();
                lost += u32::from(!control.path.exists());
            }
            over.store(true, Ordering::SeqCst);
            looking.join().unwrap();
            assert_eq!(lost, 0, "so many of 2,000 sockets were removed");
        });
    }
}
