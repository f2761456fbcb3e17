//! The sockets that we answer on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::net::TcpListener;

/// Listens on `address`, which `option` gave. `[::]` takes IPv4, too; where the machine has no IPv6 it is `0.0.0.0`, so that one
/// manifest is for clusters of either family and of both.
///
/// # Errors
/// When the address cannot be had.
pub(super) async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(error) if is_any_v6(address) && has_no_v6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("listening on {address} ({option})"))
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// What Linux says without IPv6: `EAFNOSUPPORT` when the kernel lacks it, `EADDRNOTAVAIL` when it is switched off.
fn has_no_v6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_any_address_of_ipv6_has_one_of_ipv4_in_its_place() {
        let none = io::Error::from_raw_os_error(97);
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        assert!(has_no_v6(&none) && has_no_v6(&io::ErrorKind::AddrNotAvailable.into()) && !has_no_v6(&taken));
        assert!(is_any_v6("[::]:8443".parse().unwrap()));
        assert!(!is_any_v6("[::1]:8443".parse().unwrap()) && !is_any_v6("0.0.0.0:8443".parse().unwrap()));
    }

    #[tokio::test]
    async fn any_address_of_ipv6_takes_calls_over_ipv4() {
        let socket = listen("[::]:0".parse().unwrap(), "--listen").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
