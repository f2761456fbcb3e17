//! Accepts connections: a bounded number of them, each with its TLS handshake in a task of its own, so that a client that
//! says nothing holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::activity::Protocol;
use super::connection::{self, Stage};
use super::crowd::{Crowd, Seat};

/// From the accepted connection to the finished handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After an accept error that is not the client's: out of file descriptors, in most cases.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// When the socket is about to close: no connection for so long, and none was waiting.
const LAST_CALL: Duration = Duration::from_millis(10);

/// Serves `router` on `socket`, over TLS when there is an acceptor, with at most `connections` at once: one more takes the
/// place of one that waits for its client. Returns when [`Stage::Closing`] has come and every connection has ended.
pub async fn serve_connections(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    connections: usize,
    stage: watch::Receiver<Stage>,
) {
    let crowd = Crowd::new(connections);
    let mut tasks = JoinSet::new();
    let mut closing = stage.clone();
    let serve = |tasks: &mut JoinSet<()>, (stream, peer): Accepted, seat: Seat| {
        tasks.spawn(serve_one(stream, peer, tls.clone(), router.clone(), stage.clone(), seat));
    };
    // Accepted, and without a seat so far.
    let mut next: Option<Accepted> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            // An error: nobody is left to say it, the process ends.
            _ = closing.wait_for(|stage| matches!(stage, Stage::Closing(_))) => break,
            Some(ended) = tasks.join_next() => {
                note_panic(ended);
                continue;
            }
            seat = crowd.seat(), if next.is_some() => {
                if let Some(accepted) = next.take() {
                    serve(&mut tasks, accepted, seat);
                }
                continue;
            }
            accepted = socket.accept(), if next.is_none() => accepted,
        };
        match accepted {
            Ok(accepted) => next = Some(accepted),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(error = %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
    // Those that the system has accepted for us already: closing the socket would reset them.
    for _ in 0..connections {
        let accepted = match next.take() {
            Some(accepted) => Ok(Ok(accepted)),
            None => tokio::time::timeout(LAST_CALL, socket.accept()).await,
        };
        match accepted {
            Ok(Ok(accepted)) => serve(&mut tasks, accepted, crowd.seat().await),
            _ => break,
        }
    }
    drop(socket);
    while let Some(ended) = tasks.join_next().await {
        note_panic(ended);
    }
}

type Accepted = (TcpStream, SocketAddr);

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stage: watch::Receiver<Stage>,
    seat: Seat,
) {
    // Answers are small: without this they can wait 40 ms for an acknowledgement (trap 33).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return connection::serve(stream, Protocol::Http1, router, stage, peer.port(), &seat).await;
    };
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => handshake,
        () = seat.asked_for() => return tracing::debug!(%peer, "TLS handshake cut off: others need its place"),
    };
    match handshake {
        Ok(Ok(stream)) => {
            let protocol = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            connection::serve(stream, protocol, router, stage, peer.port(), &seat).await;
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
