//! Names, without a system resolver: only what these files and this name server say is known (P2).

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Report, Target};
use mirrorgate::trust::Roots;

use super::authority::Authority;
use super::name_server::{NameServer, Says};
use super::registry::{UNAUTHORIZED, answer, listen_at};
use super::{ENOUGH, SHORT, assert_said, said, target};

async fn ask(dialler: &Dialler, host: &str, roots: &Roots, timeout: Duration) -> Report {
    let registry = Registry::parse(host).unwrap();
    let asked = Target { resolve: None, timeout, ..target(&registry, ([127, 0, 0, 1], 1).into()) };
    dialler.probe(&asked, roots).await
}

/// An address of this machine that may be dialled; none in a sandbox without a network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|address| !address.is_loopback())
}

/// By `hosts` and by name server, to the verdict. The dead address, of IPv6, is tried first.
#[tokio::test]
async fn p2_a_registry_is_found_by_its_name_past_an_address_that_is_dead() {
    let Some(own) = own_address() else { return };
    let authority = Authority::new("corp");
    let certified = authority.certify(&["harbor.corp"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(super::registry::config(&certified)));
    let server = listen_at(&format!("{own}:0"), move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, UNAUTHORIZED.into()).await;
            }
        }
    })
    .await;
    let addresses: &'static [&'static str] = vec!["100::1", own.to_string().leak()].leak();
    let names = NameServer::start(&[("harbor.corp", Says::Addresses(addresses))]).await;
    let (dialler, host) = (names.dialler(), format!("harbor.corp:{}", server.address.port()));
    let report = ask(&dialler, &host, &authority.roots(), ENOUGH).await;
    assert_said(&report, "trusted", "ok", "");
    assert_eq!(report.address, Some(server.address));
    let asked = names.asked().len();
    std::fs::write(names.file("hosts"), format!("100::1 harbor.corp\n{own} harbor.corp\n")).unwrap();
    let report = ask(&dialler, &host, &authority.roots(), ENOUGH).await;
    assert_said(&report, "trusted", "ok", "");
    assert_eq!(names.asked().len(), asked, "the name server was asked although hosts has the name");
}

#[tokio::test]
async fn t4_names_without_an_address() {
    let names = NameServer::start(&[
        ("empty.corp", Says::Addresses(&[])),
        ("failing.corp", Says::ServerFailure),
        ("silent.corp", Says::Nothing),
    ])
    .await;
    let dialler = names.dialler();
    for (host, timeout, class, part) in [
        ("unheard-of.corp", ENOUGH, "no-such-name", "has an address"),
        ("empty.corp", ENOUGH, "no-such-name", "has an address"),
        ("failing.corp", ENOUGH, "no-such-name", "fail"),
        ("silent.corp", SHORT, "timed-out", "no name server answered"),
        ("unheard-of:5000", ENOUGH, "no-such-name", "has an address"),
    ] {
        let report = ask(&dialler, host, &Roots::default(), timeout).await;
        assert_said(&report, "unreachable", class, part);
        assert!(report.took < timeout * 3 && report.address.is_none());
    }
}

/// As some name servers in front of Kubernetes do: Go waits for them, too.
#[tokio::test]
async fn p2_a_name_server_that_drops_questions_for_ipv6_costs_half_of_the_time() {
    let names = NameServer::start(&[("harbor.corp", Says::OnlyOfIpv4(&["127.0.0.1"]))]).await;
    let timeout = Duration::from_secs(2);
    let report = ask(&names.dialler(), "harbor.corp", &Roots::default(), timeout).await;
    assert_said(&report, "unreachable", "refused-address", "127.0.0.1");
    assert!(report.took < timeout * 3 / 4, "{:?}", report.took);
}

/// A mended name is found by the next probe, whatever the name server said of how long its answers hold.
#[tokio::test]
async fn p2_files_and_answers_are_read_anew() {
    let names = NameServer::start(&[
        ("harbor.corp", Says::Then(&["127.0.0.1"], &["127.0.0.2"])),
        ("mended.corp", Says::Then(&[], &["127.0.0.3"])),
    ])
    .await;
    let dialler = names.dialler();
    let said_of = async |host| said(&ask(&dialler, host, &Roots::default(), ENOUGH).await).2;
    assert!(said_of("harbor.corp").await.contains("127.0.0.1"));
    assert!(said_of("harbor.corp").await.contains("127.0.0.2"));
    assert!(said_of("mended.corp").await.contains("no name server has an address"));
    assert!(said_of("mended.corp").await.contains("127.0.0.3"));
    std::fs::write(names.file("hosts"), "127.0.0.4 harbor.corp\n").unwrap();
    assert!(said_of("harbor.corp").await.contains("127.0.0.4"));
    std::fs::remove_file(names.file("hosts")).unwrap();
    assert!(said_of("harbor.corp").await.contains("127.0.0.2"));
    std::fs::write(names.file("resolv.conf"), "nameserver 127.0.0.1\nsearch lan\n").unwrap();
    assert!(said_of("nowhere.corp").await.contains("no name server has an address"));
    assert!(names.asked().contains(&"A nowhere.corp.lan".to_owned()));
}

/// A pod's `ndots:5` and search domains would take `harbor.corp` for a Service.
#[tokio::test]
async fn p2_a_name_is_asked_as_a_node_asks_it() {
    let names = NameServer::start(&[
        ("harbor.corp", Says::Addresses(&["127.0.0.1"])),
        ("harbor.corp.svc.cluster.local", Says::Addresses(&["127.0.0.9"])),
        ("registry.lan", Says::Addresses(&["127.0.0.1"])),
    ])
    .await;
    let resolv_conf = "nameserver 127.0.0.1\nsearch mirrorgate-system.svc.cluster.local svc.cluster.local cluster.local lan\noptions ndots:5\n";
    std::fs::write(names.file("resolv.conf"), resolv_conf).unwrap();
    for host in ["harbor.corp", "registry:5000"] {
        let report = ask(&names.dialler(), host, &Roots::default(), ENOUGH).await;
        assert_said(&report, "unreachable", "refused-address", "127.0.0.1");
    }
    let asked = names.asked();
    assert!(asked.iter().all(|question| !question.contains("cluster")), "{asked:?}");
}

#[tokio::test]
async fn p2_files_that_are_not_there_are_no_panic() {
    let names = NameServer::start(&[]).await;
    let mut sources = names.sources();
    sources.hosts = names.file("nothing");
    sources.resolv_conf = names.file("nothing");
    // As every resolver does, it asks the machine itself: which knows no such name.
    let report = ask(&Dialler::with_names(sources), "harbor.corp", &Roots::default(), ENOUGH).await;
    assert_said(&report, "unreachable", "no-such-name", "");
}
