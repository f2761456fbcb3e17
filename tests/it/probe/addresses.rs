//! Which addresses are dialled (P2).

use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Report, Target};
use mirrorgate::trust::Roots;

use super::authority::Authority;
use super::name_server::{NameServer, Says};
use super::registry::{UNAUTHORIZED, answer, hold, listen, listen_tls};
use super::{SHORT, assert_said, target};

/// As the webhook asks: by name, under what the policy denies.
async fn ask(dialler: &Dialler, host: &str, denied: &[&str], literal_allowed: bool) -> Report {
    let registry = Registry::parse(host).unwrap();
    let denied: Vec<_> = denied.iter().map(|network| network.parse().unwrap()).collect();
    let address = ([127, 0, 0, 1], 1).into();
    let asked =
        Target { resolve: None, denied: &denied, literal_allowed, timeout: SHORT * 2, ..target(&registry, address) };
    dialler.probe(&asked, &Roots::default()).await
}

#[tokio::test]
async fn p2_trap_17_names_of_addresses_that_are_never_dialled() {
    let server = listen(hold).await;
    let port = server.address.port();
    let names = NameServer::start(&[
        ("loopback.evil", Says::Addresses(&["127.0.0.1"])),
        ("metadata.evil", Says::Addresses(&["169.254.169.254"])),
        ("mapped.evil", Says::Addresses(&["::ffff:127.0.0.1"])),
        ("six.evil", Says::Addresses(&["::1"])),
        ("aws.evil", Says::Addresses(&["fd00:ec2::254"])),
        ("any.evil", Says::Addresses(&["0.0.0.0"])),
        ("denied.evil", Says::Addresses(&["10.1.2.3"])),
        ("denied-mapped.evil", Says::Addresses(&["::ffff:10.1.2.3"])),
        ("good-and-bad.evil", Says::Addresses(&["192.0.2.1", "127.0.0.1"])),
        ("good-and-bad-six.evil", Says::Addresses(&["192.0.2.1", "::1"])),
    ])
    .await;
    let dialler = names.dialler();
    for (host, part) in [
        ("loopback.evil", "127.0.0.1, is never dialled: a loopback address"),
        ("metadata.evil", "169.254.169.254, is never dialled: a link-local address"),
        ("mapped.evil", "::ffff:127.0.0.1, is never dialled: a loopback address"),
        ("six.evil", "::1, is never dialled: a loopback address"),
        ("aws.evil", "a cloud's metadata"),
        ("any.evil", "an address of no machine"),
        ("denied.evil", "10.1.2.3, is never dialled: in 10.0.0.0/8 of trust.denyNetworks"),
        ("denied-mapped.evil", "::ffff:10.1.2.3, is never dialled: in 10.0.0.0/8 of trust.denyNetworks"),
        ("good-and-bad.evil", "one of its 2 addresses, 127.0.0.1, is never dialled"),
        ("good-and-bad-six.evil", "one of its 2 addresses, ::1, is never dialled"),
    ] {
        // That a mirror's endpoint may be a literal is said of literals alone.
        for literal_allowed in [false, true] {
            let report = ask(&dialler, &format!("{host}:{port}"), &["10.0.0.0/8"], literal_allowed).await;
            assert_said(&report, "unreachable", "refused-address", part);
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn p2_a_literal_is_dialled_only_where_it_is_a_mirrors_endpoint() {
    let authority = Authority::new("corp");
    let server = listen_tls(&authority.certify(&["127.0.0.1"]), |stream| answer(stream, UNAUTHORIZED.into())).await;
    let host = server.address.to_string();
    let report = ask(&Dialler::new(), &host, &[], false).await;
    assert_said(&report, "unreachable", "refused-address", "its address, 127.0.0.1, is never dialled");
    assert_eq!(server.connections(), 0);
    let registry = Registry::parse(&host).unwrap();
    let literal = Target { resolve: None, literal_allowed: true, ..target(&registry, server.address) };
    let report = Dialler::new().probe(&literal, &authority.roots()).await;
    assert_said(&report, "trusted", "ok", "");
    for literal in ["[::ffff:7f00:1]:5000", "[::1]:5000", "169.254.169.254", "[64:ff9b::7f00:1]:443", "0.0.0.0:80"] {
        assert_said(&ask(&Dialler::new(), literal, &[], false).await, "unreachable", "refused-address", "");
    }
    assert_said(
        &ask(&Dialler::new(), "10.1.2.3:5000", &["10.0.0.0/8"], false).await,
        "unreachable",
        "refused-address",
        "",
    );
}

/// The name is looked up once, and what was checked is what is dialled.
#[tokio::test]
async fn p2_trap_17_a_name_that_changes_its_address_between_check_and_dial() {
    let server = listen(hold).await;
    let names = NameServer::start(&[("rebinding.evil", Says::Then(&["192.0.2.1"], &["127.0.0.1"]))]).await;
    let report = ask(&names.dialler(), &format!("rebinding.evil:{}", server.address.port()), &[], false).await;
    assert_eq!(report.address.map(|address| address.ip().to_string()).as_deref(), Some("192.0.2.1"));
    assert_eq!(server.connections(), 0);
    let mut asked = names.asked();
    asked.sort();
    assert_eq!(asked, ["A rebinding.evil", "AAAA rebinding.evil"]);
}

#[tokio::test]
async fn t4_nobody_listens_there() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let registry = Registry::parse("harbor.corp:5000").unwrap();
    let report = Dialler::new().probe(&target(&registry, address), &Roots::default()).await;
    assert_said(&report, "unreachable", "refused", "nobody listens");
}
