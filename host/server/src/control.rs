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
        // Of a process that had this number before.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed(&path))?;
        let control = Self { listener: Some(listener), path };
        fs::set_permissions(&control.path, fs::Permissions::from_mode(0o600)).map_err(failed(&control.path))?;
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
