//! The server as a whole: starting, listening, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::accounts::Accounts;
use crate::hashes::Known;
use crate::{Error, Options, Result, address, connection, tls};

/// Connections at once; who comes after waits to be accepted.
const CONNECTIONS: usize = 512;
/// Threads for files and the database.
const BLOCKING_THREADS: usize = 64;
/// What is under way when the server stops has so long to end.
const GRACE: Duration = Duration::from_secs(30);
/// How long after the last manifest the disk is waited for.
const SYNC_AFTER: Duration = Duration::from_secs(2);
/// Uploads that nobody came back to are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// What all requests share.
pub(crate) struct Shared {
    /// For reading: never waits while another handle has the database's write lock.
    pub(crate) reads: Store,
    /// For writing.
    pub(crate) writes: Store,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) hashes: Known,
    pub(crate) sparse: bool,
    /// Something was pushed that no sync has covered.
    pub(crate) pushed: Notify,
    told: Option<Arc<dyn Fn(String) + Send + Sync>>,
}

impl Shared {
    /// Tells whoever runs the server.
    pub(crate) fn tell(&self, line: String) {
        if let Some(told) = &self.told {
            told(line);
        }
    }
}

/// A server that is running. Dropped, it stops at once.
pub struct Server {
    addr: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    /// Says stop when it changes.
    stop: watch::Sender<bool>,
    /// A permit for each connection.
    connections: Arc<Semaphore>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Opens the store's handles, listens, and serves from then on, on threads of its own.
    pub fn start(root: &std::path::Path, options: Options) -> Result<Server> {
        let addresses = address::resolve(&options.addr)?;
        let anonymous = options.htpasswd.is_none();
        if anonymous && !options.allow_anonymous && !address::is_loopback(&addresses) {
            return Err(Error::Anonymous { addr: options.addr });
        }
        let accounts = options.htpasswd.as_deref().map(Accounts::open).transpose()?;
        let acceptor =
            options.tls.as_ref().map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
        let shared = Arc::new(Shared {
            reads: Store::open(root)?,
            writes: Store::open(root)?,
            accounts,
            hashes: Known::default(),
            sparse: options.sparse,
            pushed: Notify::new(),
            told: options.told,
        });
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(Error::Start)?;
        let cannot = |source| Error::Listen { addr: options.addr.clone(), source };
        let listener = runtime.block_on(TcpListener::bind(addresses.as_slice())).map_err(cannot)?;
        let addr = listener.local_addr().map_err(cannot)?;
        let (stop, stopping) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let tls = acceptor.is_some();
        runtime.spawn(accept(listener, acceptor, shared.clone(), connections.clone(), stopping.clone()));
        runtime.spawn(sync(shared.clone()));
        runtime.spawn(sweep(shared.clone()));
        Ok(Server { addr, tls, shared, stop, connections, runtime: Some(runtime) })
    }

    /// The address that it listens on, with the port that it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDRESS` or `https://ADDRESS`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Waits for SIGINT or SIGTERM.
    pub fn wait_for_signal(&self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let Some(runtime) = &self.runtime else { return Ok(()) };
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok(())
        })
    }

    /// Accepts nothing more, lets what is under way end (half a minute at most, or until the next signal), and makes
    /// what was pushed survive a power cut.
    pub fn stop(mut self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let Some(runtime) = self.runtime.take() else { return Ok(()) };
        let _ = self.stop.send(true);
        runtime.block_on(async {
            let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
            let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
            tokio::select! {
                _ = self.connections.acquire_many(all) => {}
                () = tokio::time::sleep(GRACE) => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok::<_, Error>(())
        })?;
        runtime.shutdown_timeout(Duration::from_secs(1));
        if self.shared.writes.unsynced_since()?.is_some() {
            self.shared.writes.sync()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = async {
            let permit = connections.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            _ = stopping.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, acceptor, stopping) = (shared.clone(), acceptor.clone(), stopping.clone());
                tokio::spawn(async move {
                    connection::serve(stream, acceptor, shared, stopping).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: some come free as connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// After each burst of pushes, one sync covers them.
async fn sync(shared: Arc<Shared>) {
    loop {
        shared.pushed.notified().await;
        tokio::time::sleep(SYNC_AFTER).await;
        let store = shared.writes.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.sync()).await {
            shared.tell(error.to_string());
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        let store = shared.writes.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.sweep_uploads()).await {
            shared.tell(error.to_string());
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
