//! One TCP connection to the first of a registry's addresses that answers, and a bound on what is read from it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How long one address is waited for before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses that are tried.
const MOST_ADDRESSES: usize = 8;

/// The most bytes that are read from a connection: the largest certificate message, its records, and an answer's head.
const MOST_BYTES: usize = 160 * 1024;

/// Connects to one of these addresses, which were all found fit to be dialled: in turn, alternating between IPv6 and IPv4,
/// without waiting for one that does not answer.
///
/// # Errors
/// What became of the first address, when none answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = alternating(addresses).into_iter().take(MOST_ADDRESSES);
    let mut trying = FuturesUnordered::new();
    let mut fault = None;
    loop {
        let next = waiting.next();
        trying.extend(next.map(|address| async move { (address, TcpStream::connect(address).await) }));
        let head_start = sleep(HEAD_START);
        tokio::select! {
            tried = trying.next() => match tried {
                Some((address, Ok(stream))) => {
                    // Else the request, right behind the handshake's last bytes, can wait 40 ms for these to be acknowledged
                    // (trap 33). Without it all goes as well.
                    let _slower = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Some((_, Err(error))) => { fault.get_or_insert(error); }
                None => return Err(fault.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = head_start, if next.is_some() => {}
        }
    }
}

/// The addresses in their order, but IPv6 and IPv4 by turns, so that a family that is dead costs one head start.
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv6() == is_ipv6);
    let longest = first.len().max(second.len());
    (0..longest).flat_map(|at| [first.get(at), second.get(at)]).flatten().copied().collect()
}

/// What has come over a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    first: OnceLock<u8>,
    bytes: AtomicUsize,
}

impl Traffic {
    /// The first byte that the server sent.
    pub(super) fn first(&self) -> Option<u8> {
        self.first.get().copied()
    }

    /// Whether the server sent more than is read.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MOST_BYTES
    }
}

/// A connection that ends when the server has sent more than a registry has to say.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl Bounded {
    pub(super) fn new(stream: TcpStream, traffic: Arc<Traffic>) -> Self {
        Self { stream, traffic }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        if let Some(&first) = read.first() {
            self.traffic.first.get_or_init(|| first);
        }
        self.traffic.bytes.fetch_add(read.len(), Ordering::Relaxed);
        Poll::Ready(if self.traffic.is_too_much() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) })
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_families_take_turns() {
        let addresses = ["[fd00::1]:1", "[fd00::2]:1", "[fd00::3]:1", "10.0.0.1:1"].map(|text| text.parse().unwrap());
        let turns: Vec<String> = alternating(&addresses).iter().map(ToString::to_string).collect();
        assert_eq!(turns, ["[fd00::1]:1", "10.0.0.1:1", "[fd00::2]:1", "[fd00::3]:1"]);
        assert!(alternating(&[]).is_empty());
    }
}
