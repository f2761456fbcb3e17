//! Accepts connections: a bounded number of them, each with its TLS handshake in a task of its own, so that a client that
//! says nothing holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::activity::Protocol;
use super::connection::{self, Stage};

/// From the accepted connection to the finished handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After an accept error that is not the client's: out of file descriptors, in most cases.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// When the socket is about to close: no connection for so long, and none was waiting.
const LAST_CALL: Duration = Duration::from_millis(10);

/// Serves `router` on `socket`, over TLS when there is an acceptor, with at most `connections` at once (more wait in the
/// system's queue). Returns when [`Stage::Closing`] has come and every connection has ended.
pub async fn serve_connections(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    connections: usize,
    stage: watch::Receiver<Stage>,
) {
    let permits = Arc::new(Semaphore::new(connections));
    let mut tasks = JoinSet::new();
    let mut closing = stage.clone();
    let serve = |tasks: &mut JoinSet<()>, (stream, peer, permit): Accepted| {
        let crowded = {
            let permits = Arc::clone(&permits);
            move || permits.available_permits() < connections / 2
        };
        let (tls, router, stage) = (tls.clone(), router.clone(), stage.clone());
        tasks.spawn(async move {
            let _permit = permit;
            serve_one(stream, peer, tls, router, stage, crowded).await;
        });
    };
    loop {
        let accepted = tokio::select! {
            biased;
            // An error: nobody is left to say it, the process ends.
            _ = closing.wait_for(|stage| *stage == Stage::Closing) => break,
            Some(ended) = tasks.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = accept(&socket, &permits) => accepted,
        };
        match accepted {
            Ok(accepted) => serve(&mut tasks, accepted),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(error = %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
    // Those that the system has accepted for us already: closing the socket would reset them.
    for _ in 0..connections {
        match tokio::time::timeout(LAST_CALL, accept(&socket, &permits)).await {
            Ok(Ok(accepted)) => serve(&mut tasks, accepted),
            _ => break,
        }
    }
    drop(socket);
    while let Some(ended) = tasks.join_next().await {
        note_panic(ended);
    }
}

/// A connection with its share of the cap.
type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stage: watch::Receiver<Stage>,
    crowded: impl Fn() -> bool,
) {
    // Answers are small: without this they can wait 40 ms for an acknowledgement (trap 33).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return connection::serve(stream, Protocol::Http1, router, stage, peer.port(), crowded).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let protocol = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            connection::serve(stream, protocol, router, stage, peer.port(), crowded).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake cut off at its deadline"),
    }
}

/// A client that went away before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "a connection ended in a bug");
    }
}
