//! Files with a certificate that somebody replaces, well or not: the last good pair stays, and it is said.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mirrorgate::serving::{CertificateFiles, CertificateSource, InForce, Pair};
use mirrorgate::telemetry::{Metrics, Readiness};
use rcgen::KeyPair;
use tokio::task::JoinSet;

use super::{NAME, Somebody, days, made_at, noon};

struct Served {
    folder: tempfile::TempDir,
    in_force: Arc<InForce>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    tasks: JoinSet<()>,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::new(&["certificate"])));
        let in_force = Arc::new(InForce::new(Arc::clone(&metrics), Arc::clone(&readiness)));
        let mut served = Self { folder, in_force, metrics, readiness, tasks: JoinSet::new() };
        served.write("tls.crt", &made_at(Timestamp::now()).certificate);
        served.renew();
        let source = CertificateSource::Files { certificate: served.path("tls.crt"), key: served.path("tls.key") };
        let files = CertificateFiles::load(&source, Some(NAME.to_owned()), Arc::clone(&served.in_force)).unwrap();
        served.tasks.spawn(files.keep());
        served
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path: &Path = &self.path(name);
        fs::write(path, content).unwrap();
    }

    /// Another pair of the same kind.
    fn renew(&self) {
        let content = made_at(Timestamp::now());
        self.write("tls.crt", &content.certificate);
        self.write("tls.key", content.key.as_bytes());
    }

    fn shown(&self) -> String {
        self.in_force.pair().unwrap().leaf().facts().sha256
    }

    /// What `/readyz` says once it says something else.
    async fn says(&self, words: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let report = self.readiness.report();
            if report.contains(words) {
                return report;
            }
            assert!(Instant::now() < end, "{words:?} was not said: {report}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn has_errors(&self) -> bool {
        self.metrics.encode().contains("mirrorgate_certificate_errors 1\n")
    }
}

#[tokio::test]
async fn a_pair_that_cannot_serve_leaves_the_last_good_one_in_force_and_is_told_of() {
    let served = Served::start();
    let good = served.shown();
    assert_eq!(served.readiness.report(), "[+] certificate\nready\n");
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let since_noon = (Timestamp::now().as_second() - noon().as_second()) / (24 * 60 * 60);
    let signed = |name: &str, from: i64, to: i64| ca.signs(name, (since_noon + from, since_noon + to), &key);
    for (certificate, words) in [
        ("broken".to_owned(), "the certificate cannot be read"),
        (String::new(), "there is no certificate"),
        (signed("other.svc", -2, 30), "other.svc"),
        (signed(NAME, -30, -2), "expired at"),
        (signed(NAME, 2, 30), "is not valid before"),
        (format!("{}{}", ca.pem(), signed(NAME, -2, 30)), "the chain is in the wrong order"),
        (
            Somebody::new().signs(NAME, (since_noon - 2, since_noon + 30), &KeyPair::generate().unwrap()),
            "belongs to another",
        ),
    ] {
        served.write("tls.key", key.serialize_pem().as_bytes());
        served.write("tls.crt", certificate.as_bytes());
        let report = served.says(words).await;
        assert!(report.starts_with("[+] certificate (the last good one stays in force: "), "{report}");
        assert!(served.has_errors(), "{words}");
        assert_eq!(served.shown(), good, "{words}");
    }
    served.renew();
    served.says("[+] certificate\n").await;
    assert!(!served.has_errors() && served.shown() != good);
}

/// There is nothing better at the start.
#[test]
fn a_certificate_for_another_name_serves_from_the_start_and_is_told_of() {
    let served = tempfile::tempdir().unwrap();
    let content = made_at(Timestamp::now());
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| served.path().join(name));
    fs::write(&certificate, &content.certificate).unwrap();
    fs::write(&key, content.key.as_bytes()).unwrap();
    let source = CertificateSource::Files { certificate, key };
    for (name, is_told) in [(NAME, false), ("mirrorgate.elsewhere.svc", true)] {
        let readiness = Arc::new(Readiness::new(&["certificate"]));
        let in_force = Arc::new(InForce::new(Arc::new(Metrics::new()), Arc::clone(&readiness)));
        CertificateFiles::load(&source, Some(name.to_owned()), Arc::clone(&in_force)).unwrap();
        let report = readiness.report();
        assert!(in_force.pair().is_some() && readiness.is_ready(), "{report}");
        assert_eq!(report.contains("it is in force, as there is no better one: "), is_told, "{report}");
        assert_eq!(report.contains(name), is_told, "{report}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_read_leave_the_last_good_pair_in_force() {
    let served = Served::start();
    let good = served.shown();
    let key = fs::read(served.path("tls.key")).unwrap();
    fs::remove_file(served.path("tls.key")).unwrap();
    fs::create_dir(served.path("tls.key")).unwrap();
    let report = served.says("not a file").await;
    assert!(
        report.starts_with("[+] certificate (the last good one stays in force: ") && served.has_errors(),
        "{report}"
    );
    fs::remove_dir(served.path("tls.key")).unwrap();
    served.write("tls.key", &key);
    served.says("[+] certificate\n").await;
    assert!(!served.has_errors());
    assert_eq!(served.shown(), good);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of_by_the_clock() {
    let readiness = Arc::new(Readiness::new(&["certificate"]));
    let in_force = InForce::new(Arc::new(Metrics::new()), Arc::clone(&readiness));
    let made = super::held(&made_at(noon()));
    for (now, words) in [
        (noon() + days(75), "[+] certificate\n"),
        (noon() + days(77), "[+] certificate (expires at 2027-02-19T12:00:00Z, in 13 days)\n"),
        (noon() + days(91), "[+] certificate (expired at 2027-02-19T12:00:00Z: the API server refuses it)\n"),
    ] {
        in_force.take(made.pair().unwrap(), None, now);
        let report = readiness.report();
        assert!(report.starts_with(words), "{report}");
        assert_eq!(in_force.concerns().borrow().expiry.is_some(), words.contains("expire"));
    }
    // Its successor ends the warning.
    in_force.take(super::held(&made_at(noon() + days(91))).pair().unwrap(), None, noon() + days(91));
    assert!(readiness.report().starts_with("[+] certificate\n"), "{}", readiness.report());
    assert_eq!(in_force.concerns().borrow().expiry, None);
}

/// Nobody calls for weeks: it is told of all the same.
#[tokio::test]
async fn the_end_comes_near_without_news_and_is_told_of() {
    let readiness = Arc::new(Readiness::new(&["certificate"]));
    let in_force = Arc::new(InForce::new(Arc::new(Metrics::new()), Arc::clone(&readiness)));
    let made = Timestamp::now() - days(80);
    in_force.take(super::held(&made_at(made)).pair().unwrap(), None, made);
    assert!(readiness.report().starts_with("[+] certificate\n"), "{}", readiness.report());
    let mut concerns = in_force.concerns();
    let _look = tokio::time::timeout(Duration::from_millis(500), in_force.watch_the_clock()).await;
    assert!(concerns.borrow_and_update().expiry.is_some());
    assert!(readiness.report().starts_with("[+] certificate (expires at "), "{}", readiness.report());
}

/// An intermediate that was forgotten is added: the certificate is the same, and what is sent is not.
#[test]
fn a_chain_that_somebody_completes_is_taken_up() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let (leaf, key) = (ca.signs(NAME, (-1, 90), &key), key.serialize_pem());
    let read = |chain: &str| Pair::read(chain.as_bytes(), key.as_bytes()).unwrap();
    let in_force = InForce::new(Arc::new(Metrics::new()), Arc::new(Readiness::new(&["certificate"])));
    for (chain, sent) in [(leaf.clone(), 1), (format!("{leaf}{}", ca.pem()), 2), (leaf.clone(), 1)] {
        in_force.offer(&read(&chain), Ok(()), |_| true, noon());
        assert_eq!(in_force.pair().unwrap().certified().cert.len(), sent);
    }
}

/// What only the clock speaks against comes after what is good, and before what is not.
#[test]
fn what_the_clock_speaks_against_follows_only_what_is_no_better() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let read = |name: &str, to: i64| {
        let (leaf, key) = (ca.signs(name, (-1, to), &key), key.serialize_pem());
        Pair::read(leaf.as_bytes(), key.as_bytes()).unwrap()
    };
    let (first, late, other) = (read(NAME, 30), read(NAME, 40), read("other.svc", 400));
    let check = |pair: &Pair, now: Timestamp| pair.check(None, Some(NAME), now);
    for (newest, now, is_good, follows, words) in [
        (&late, noon() + days(50), true, false, "the last good one stays in force: "),
        (&late, noon() + days(50), false, true, "it is in force, as there is no better one: "),
        (&other, noon() + days(50), false, false, "the last good one stays in force: "),
        (&first, noon() + days(50), true, true, "it is in force, as there is no better one: "),
    ] {
        let readiness = Arc::new(Readiness::new(&["certificate"]));
        let in_force = InForce::new(Arc::new(Metrics::new()), Arc::clone(&readiness));
        in_force.take(&first, None, noon());
        in_force.offer(newest, check(newest, now), |_| is_good, now);
        assert_eq!(in_force.pair().unwrap().is_same(newest), follows, "{words}");
        assert!(readiness.report().contains(words), "{words}: {}", readiness.report());
    }
}

/// A clock of ours may be wrong: what only the clock speaks against serves when there is nothing better.
#[test]
fn with_nothing_better_a_clock_alone_keeps_no_certificate_from_serving() {
    let made = super::held(&made_at(noon()));
    let pair = made.pair().unwrap();
    for (now, name, taken) in [
        (noon(), NAME, true),
        (noon() + days(100), NAME, true),
        (noon() - days(100), NAME, true),
        (noon(), "other.svc", false),
    ] {
        let readiness = Arc::new(Readiness::new(&["certificate"]));
        let in_force = InForce::new(Arc::new(Metrics::new()), Arc::clone(&readiness));
        in_force.offer(pair, made.check(true, name, now), |_| true, now);
        assert_eq!((in_force.pair().is_some(), readiness.is_ready()), (taken, taken), "{now} {name}");
    }
}
