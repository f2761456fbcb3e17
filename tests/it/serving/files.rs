//! Files with a certificate that somebody replaces, well or not: the last good pair stays, and it is said.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mirrorgate::serving::{CertificateFiles, CertificateSource, InForce};
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
