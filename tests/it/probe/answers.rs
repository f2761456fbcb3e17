//! What a registry answers to `GET /v2/`, over TLS and in plain HTTP (P1, T6).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Kind, Report};
use mirrorgate::trust::Roots;
use tokio::io::AsyncWriteExt;

use super::authority::Authority;
use super::registry::{Listening, UNAUTHORIZED, answer, good, head, hold, listen, listen_tls};
use super::{ENOUGH, SHORT, assert_said, probe, said, target};

async fn probe_plain(server: &Listening, timeout: Duration) -> Report {
    let registry = Registry::parse("harbor.corp:5000").unwrap();
    let mut plain = target(&registry, server.address);
    plain.checked = Kind::Plain;
    plain.timeout = timeout;
    Dialler::new().probe(&plain, &Roots::default()).await
}

#[tokio::test]
async fn p1_which_statuses_mean_a_registry_that_works() {
    let authority = Authority::new("corp");
    for (status, works) in [
        (200, true),
        (401, true),
        (403, true),
        (429, true),
        (301, true),
        (307, true),
        (204, false),
        (400, false),
        (404, false),
        (500, false),
        (502, false),
        (503, false),
    ] {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let server = listen_tls(&authority.certify(&["harbor.corp"]), move |stream| answer(stream, text.clone())).await;
        let report = probe(server.address, &authority.roots()).await;
        assert_eq!(report.http_status, Some(status));
        if works {
            assert_said(&report, "trusted", "ok", "");
        } else {
            assert_said(&report, "unreachable", "bad-answer", &status.to_string());
        }
    }
}

/// One request, without a credential, and nothing after it.
#[tokio::test]
async fn p1_trap_17_no_credential_is_sent_and_no_redirect_or_realm_is_followed() {
    let authority = Authority::new("corp");
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let elsewhere = listen(hold).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "401 Unauthorized"] {
        let location = elsewhere.address;
        let text = format!(
            "HTTP/1.1 {status}\r\nLocation: http://{location}/latest/meta-data/\r\nWWW-Authenticate: Bearer realm=\"http://{location}/token\"\r\nContent-Length: 0\r\n\r\n"
        );
        let log = heard.clone();
        let server = listen_tls(&authority.certify(&["harbor.corp"]), move |mut stream| {
            let (log, text) = (log.clone(), text.clone());
            async move {
                while let Some(head) = head(&mut stream).await {
                    log.lock().unwrap().push(head);
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        assert_said(&probe(server.address, &authority.roots()).await, "trusted", "ok", "");
        assert_eq!(server.connections(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 4);
    let version = env!("CARGO_PKG_VERSION");
    for head in &*heard {
        let lower = head.to_ascii_lowercase();
        assert!(lower.starts_with("get /v2/ http/1.1\r\n"), "{head}");
        assert!(lower.contains("\r\nhost: harbor.corp:5000\r\n"), "{head}");
        assert!(lower.contains(&format!("\r\nuser-agent: mirrorgate/{version}\r\n")), "{head}");
        assert!(!lower.contains("authorization") && !lower.contains("cookie"), "{head}");
    }
}

#[tokio::test]
async fn p1_an_endless_body_is_not_read() {
    let authority = Authority::new("corp");
    let server = listen_tls(&authority.certify(&["harbor.corp"]), |mut stream| async move {
        let _request = head(&mut stream).await;
        let mut part = "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n".to_owned();
        while stream.write_all(part.as_bytes()).await.is_ok() {
            part = "x".repeat(16 * 1024);
        }
    })
    .await;
    let report = probe(server.address, &authority.roots()).await;
    assert_said(&report, "trusted", "ok", "");
    assert!(report.took < ENOUGH / 2, "{:?}", report.took);
}

#[tokio::test]
async fn p1_heads_without_end_are_cut_off() {
    let authority = Authority::new("corp");
    for (what, begin, part) in [
        ("headers", "HTTP/1.1 200 OK\r\n", "X-Header: y\r\n".to_owned()),
        ("one header", "HTTP/1.1 200 OK\r\nX: ", "y".repeat(1000)),
        ("interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
        ("no line end at all", "", "\0".repeat(1000)),
    ] {
        let server = listen_tls(&authority.certify(&["harbor.corp"]), move |mut stream| {
            let part = part.clone();
            async move {
                let _request = head(&mut stream).await;
                let _gone = stream.write_all(begin.as_bytes()).await;
                while stream.write_all(part.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let report = probe(server.address, &authority.roots()).await;
        let said = said(&report);
        assert_eq!(said.0, "unreachable", "{what}: {said:?}");
        assert!(report.took < ENOUGH / 2, "{what}: {:?}", report.took);
    }
}

#[tokio::test]
async fn p1_an_answer_byte_by_byte_takes_no_longer_than_the_time() {
    let authority = Authority::new("corp");
    let certified = authority.certify(&["harbor.corp"]);
    let server = listen_tls(&certified, |mut stream| async move {
        let _request = head(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\n".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let registry = Registry::parse("harbor.corp:5000").unwrap();
    let mut short = target(&registry, server.address);
    short.timeout = SHORT * 2;
    let report = Dialler::new().probe(&short, &authority.roots()).await;
    assert_said(&report, "unreachable", "timed-out", "GET /v2/");
    assert!(report.judgement.is_some() && report.took < SHORT * 4, "{:?}", report.took);
}

#[tokio::test]
async fn p1_what_is_no_answer() {
    let authority = Authority::new("corp");
    for (text, class) in [("", "reset"), ("nonsense\r\n\r\n", "bad-answer"), ("HTTP/2 200\r\n\r\n", "bad-answer")] {
        let server = listen_tls(&authority.certify(&["harbor.corp"]), move |stream| answer(stream, text.into())).await;
        let report = probe(server.address, &authority.roots()).await;
        assert_said(&report, "unreachable", class, "GET /v2/");
    }
}

#[tokio::test]
async fn t6_a_plain_http_mirror_has_no_certificate_to_judge() {
    let server = listen(|stream| answer(stream, UNAUTHORIZED.into())).await;
    let report = probe_plain(&server, ENOUGH).await;
    assert_said(&report, "unknown", "plain-http", "plain HTTP");
    assert_eq!((report.http_status, server.connections()), (Some(401), 1));
    let server = listen(|stream| answer(stream, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".into())).await;
    assert_said(&probe_plain(&server, ENOUGH).await, "unreachable", "bad-answer", "502");
    let server = listen(hold).await;
    assert_said(&probe_plain(&server, SHORT).await, "unreachable", "timed-out", "");
    let server = listen(|stream| async move { drop(stream) }).await;
    assert_said(&probe_plain(&server, ENOUGH).await, "unreachable", "reset", "");
}

/// Go and nginx answer 400 in plain HTTP, others by an alert, or not at all.
#[tokio::test]
async fn t6_a_mirror_that_speaks_tls_where_plain_http_is_meant_is_told_by_it() {
    let authority = Authority::new("corp");
    let server = good(&authority.certify(&["harbor.corp"])).await;
    assert_said(&probe_plain(&server, ENOUGH).await, "unreachable", "not-tls", "plainHTTP");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(super::registry::config(&authority.certify(&["x.corp"]))));
    let server = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            if first[0] == b'G' {
                let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
                answer(stream, text.to_owned()).await;
            } else {
                let _failed = acceptor.accept(stream).await;
            }
        }
    })
    .await;
    assert_said(&probe_plain(&server, ENOUGH).await, "unreachable", "not-tls", "plainHTTP");
}
