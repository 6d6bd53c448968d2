//! `registry serve`: the store as a registry.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use crate::{Engine, Error, Event, Events, Kind, Result};

/// How to serve; paths are on the host.
#[derive(Debug, Clone, Default)]
pub struct ServeRequest {
    /// `HOST:PORT`, `:PORT` for all interfaces; port 0 takes a free one.
    pub addr: String,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// htpasswd file with bcrypt hashes.
    pub htpasswd: Option<PathBuf>,
    /// Serve beyond loopback without accounts.
    pub allow_anonymous: bool,
    /// Take manifests whose blobs or manifests are not there.
    pub sparse: bool,
}

/// Serves until SIGINT or SIGTERM, then lets what is under way end. Says where it listens with one
/// [`Event::Status`], and tells of failures with [`Event::Warning`]s.
pub fn serve(engine: &Engine, request: &ServeRequest, events: &dyn Events) -> Result<()> {
    let (tell, told) = mpsc::sync_channel(100);
    let options = server::Options {
        addr: request.addr.clone(),
        tls: request.tls.clone(),
        htpasswd: request.htpasswd.clone(),
        allow_anonymous: request.allow_anonymous,
        sparse: request.sparse,
        // Nobody waits for a terminal: what comes too fast is lost.
        told: Some(Arc::new(move |line| drop(tell.try_send(line)))),
    };
    let server = server::Server::start(engine.store.root(), options).map_err(started)?;
    if request.htpasswd.is_some() && request.tls.is_none() && !server.addr().ip().is_loopback() {
        let warning = "passwords come over the network in clear text: --tls-cert and --tls-key encrypt it";
        events.event(Event::Warning(warning.to_owned()));
    }
    events.event(Event::Status(format!("listening on {}", server.url())));
    std::thread::scope(|scope| {
        let (stopped, stop) = mpsc::channel::<()>();
        scope.spawn(move || {
            loop {
                match told.recv_timeout(Duration::from_millis(200)) {
                    Ok(line) => events.event(Event::Warning(line)),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        if let Err(mpsc::TryRecvError::Disconnected) = stop.try_recv() {
                            return;
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        let served = server.wait_for_signal().and_then(|()| server.stop());
        drop(stopped);
        served.map_err(started)
    })
}

fn started(error: server::Error) -> Error {
    let message = error.to_string();
    match error {
        server::Error::Store(error) => error.into(),
        server::Error::Address { .. } | server::Error::File { .. } => Error::invalid(message),
        server::Error::Anonymous { .. } => Error::new(Kind::Denied, message)
            .hint("--htpasswd FILE asks for accounts; --tls-cert FILE and --tls-key FILE encrypt them")
            .hint("--allow-anonymous serves everybody who reaches it"),
        server::Error::Listen { .. } => Error::new(Kind::Unavailable, message),
        server::Error::Start(_) => Error::internal(message),
    }
}
