//! Single calls: protocols, paths, limits, and the `Status` objects of what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use mirrorgate::app::App;
use mirrorgate::server::{MAX_BODY, admission_router};
use mirrorgate::telemetry::Metrics;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::Barrier;
use tower::Service;

use super::process::{Server, policy, review};
use super::wire::{Connection, get, http2, http2_review, patch};

/// Tests that send hundreds of megabytes do so one after the other: a body has 10 s to arrive.
static ONE_FLOOD_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn alpn_chooses_between_http_1_and_http_2() {
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    let answer = connection.post("/v1/mutate/enforce?timeout=10s", &review()).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(patch(&answer.body).contains("harbor.corp/proxy/library/nginx:1.27"));
    assert!(!answer.says_goodbye());

    let (mut sender, driver) = http2(&server.authority(), server.https).await;
    let answer = tokio::select! {
        answer = sender.send_request(http2_review(review())) => answer.unwrap(),
        ended = driver => panic!("the connection ended: {ended:?}"),
    };
    assert_eq!((answer.status(), answer.version()), (hyper::StatusCode::OK, hyper::Version::HTTP_2));
}

#[tokio::test]
async fn a2_what_is_no_review_is_answered_with_a_status() {
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let json = "application/json";
    for (method, path, content_type, body, status, reason) in [
        ("POST", "/v1/mutate/enforce", json, "not json", 400, "BadRequest"),
        ("POST", "/v1/mutate/audit", json, "{}", 400, "BadRequest"),
        ("POST", "/v1/mutate/enforce?timeout=never", json, "{}", 400, "BadRequest"),
        ("POST", "/v1/mutate", json, "{}", 404, "NotFound"),
        ("POST", "/v1/mutate/enforce/", json, "{}", 404, "NotFound"),
        ("GET", "/metrics", json, "", 404, "NotFound"),
        ("GET", "/v1/mutate/enforce", json, "", 405, "MethodNotAllowed"),
        ("PUT", "/v1/mutate/audit", json, "{}", 405, "MethodNotAllowed"),
        ("POST", "/v1/mutate/enforce", "text/plain", "{}", 415, "UnsupportedMediaType"),
        ("POST", "/v1/mutate/enforce", "application/json-patch+json", "{}", 415, "UnsupportedMediaType"),
    ] {
        // One connection for all would do: a refusal does not spoil it. A new one shows each alone.
        let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
        let answer = connection.send(method, path, content_type, body.as_bytes()).await.unwrap();
        let case = format!("{method} {path} {content_type} {body}: {answer:?}");
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")), "{case}");
        let object = answer.json();
        assert_eq!((&object["kind"], &object["apiVersion"]), (&Value::from("Status"), &Value::from("v1")), "{case}");
        assert_eq!((&object["status"], &object["code"]), (&Value::from("Failure"), &Value::from(status)), "{case}");
        assert_eq!(object["reason"], reason, "{case}");
        assert!(object["message"].as_str().is_some_and(|message| message.len() > 10), "{case}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"), "{case}");
        let answer = connection.post("/v1/mutate/audit", &review()).await.unwrap();
        assert_eq!(answer.status, 200, "after {case}");
    }
}

/// Trap 34: not 2 MB and not 8 MiB, and not one byte more than 24 MiB.
#[tokio::test]
async fn trap_34_a_body_may_be_24_mib_and_not_one_byte_more() {
    let _alone = ONE_FLOOD_AT_A_TIME.lock().await;
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let padded = |length: usize| {
        let mut body = review();
        body.resize(length, b' ');
        body
    };
    for (length, status) in [(MAX_BODY, 200), (MAX_BODY + 1, 413)] {
        let body = padded(length);
        let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
        let answer = connection.post("/v1/mutate/enforce", &body).await.unwrap();
        assert_eq!(answer.status, status, "{length} bytes, announced");

        let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
        let head = "POST /v1/mutate/enforce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in body.chunks(1_000_000) {
            connection.stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
            connection.stream.write_all(chunk).await.unwrap();
            connection.stream.write_all(b"\r\n").await.unwrap();
        }
        connection.stream.write_all(b"0\r\n\r\n").await.unwrap();
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.status, status, "{length} bytes, in chunks");
        if status == 413 {
            assert_eq!(answer.json()["reason"], "RequestEntityTooLarge");
        }
    }
}

/// The same on HTTP/2, whose frames and windows are counted beside: the API server speaks it to loopback addresses.
#[tokio::test]
async fn trap_34_on_http_2_large_bodies_come_one_after_the_other() {
    let _alone = ONE_FLOOD_AT_A_TIME.lock().await;
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let (mut sender, driver) = http2(&server.authority(), server.https).await;
    let calls = async {
        for length in [7_000_000, MAX_BODY, MAX_BODY, 7_000_000] {
            let mut body = review();
            body.resize(length, b' ');
            let answer = sender.send_request(http2_review(body)).await.unwrap();
            assert_eq!(answer.status(), hyper::StatusCode::OK, "{length} bytes");
        }
    };
    tokio::select! {
        () = calls => {}
        ended = driver => panic!("the connection ended: {ended:?}"),
    }
}

/// Many large bodies at once: some are told to come again, and memory stays bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_at_once_are_refused_and_memory_stays_under_200_mb() {
    const CLIENTS: usize = 10;
    let _alone = ONE_FLOOD_AT_A_TIME.lock().await;
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let body = Arc::new({
        let mut body = review();
        body.resize(MAX_BODY, b' ');
        body
    });
    let all_but_one_byte = Arc::new(Barrier::new(CLIENTS));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (authority, https) = (server.authority(), server.https);
        let (body, all_but_one_byte) = (Arc::clone(&body), Arc::clone(&all_but_one_byte));
        clients.spawn(async move {
            let mut connection = Connection::open(&authority, https).await.unwrap();
            let head = format!(
                "POST /v1/mutate/enforce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            connection.stream.write_all(head.as_bytes()).await.unwrap();
            let (most, last) = body.split_at(body.len() - 1);
            connection.stream.write_all(most).await.unwrap();
            all_but_one_byte.wait().await;
            connection.stream.write_all(last).await.unwrap();
            connection.answer().await.unwrap()
        });
    }
    let answers = clients.join_all().await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(with(200) + with(503), CLIENTS, "{answers:?}");
    assert!(with(200) >= 1, "nobody was served");
    assert!(with(503) >= CLIENTS - 3, "{} of {CLIENTS} large bodies were taken at once", with(200));
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["reason"], "ServiceUnavailable");
    }
    let peak = server.memory_kb("VmHWM");
    assert!(peak < 200_000, "{peak} kB at the peak");
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    assert_eq!(connection.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
}

/// Trap 22: before the first policy every review is told to come again.
#[tokio::test]
async fn trap_22_without_a_policy_a_review_is_told_to_come_again() {
    let (_sender, policy) = tokio::sync::watch::channel(None);
    let mut router = admission_router(Arc::new(App::new(Arc::new(Metrics::new()), policy, Arc::default(), None)));
    let request = hyper::Request::post("/v1/mutate/enforce")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(review()))
        .unwrap();
    let answer = router.call(request).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["kind"], "Status");
    assert!(status["message"].as_str().unwrap().contains("policy"), "{status}");
}

#[tokio::test]
async fn the_plain_port_says_how_we_are() {
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    assert_eq!(get(server.http, "/livez").await, (200, "ok\n".to_owned()));
    let (status, report) = get(server.http, "/readyz").await;
    assert_eq!((status, report.as_str()), (200, "[+] ca-bundles\n[+] certificate\n[+] listener\n[+] policy\nready\n"));
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    connection.post("/v1/mutate/enforce", &review()).await.unwrap();
    let (status, metrics) = get(server.http, "/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "mirrorgate_admission_requests_total{mode=\"enforce\",operation=\"CREATE\",result=\"patched\"} 1",
        "mirrorgate_policy_info{generation=\"1\",sha256=\"",
        "mirrorgate_certificate_expiry_timestamp_seconds 1",
        "mirrorgate_images_total{mirror=\"harbor\"",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert_eq!(get(server.http, "/v1/mutate/enforce").await.0, 404);
    let idle = server.memory_kb("VmRSS");
    assert!(idle < 50_000, "{idle} kB resident in a debug build");
    tokio::time::timeout(Duration::from_secs(5), get(server.http, "/livez")).await.unwrap();
}
