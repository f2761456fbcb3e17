//! The pair in force: one writer, and every handshake reads it. What is said of it is said here, in the log, `/readyz` and
//! the metrics, wherever it comes from.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::telemetry::{Metrics, Readiness};

use super::pair::{Pair, PairFault};

/// The part of [`Readiness`] that this module sets.
pub const READINESS: &str = "certificate";
/// What `/readyz` remarks on.
const NEWEST: &str = "newest";
const EXPIRY: &str = "expiry";

/// From when on before its end a certificate is warned of, at most; one of a short life, in the last third of it.
const WARNED: SignedDuration = SignedDuration::from_hours(24 * 14);
/// Clocks are set, and machines sleep: looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// The pair in force, if there is one.
#[derive(Debug)]
pub struct InForce {
    pair: watch::Sender<Option<Arc<Pair>>>,
    concerns: watch::Sender<Concerns>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

/// What is not as it should be, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Why the newest pair is not in force, or is in force only for want of a better one.
    pub newest: Option<String>,
    /// That the pair in force ends soon, or has ended.
    pub expiry: Option<String>,
}

impl InForce {
    /// Nothing yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        let (pair, _) = watch::channel(None);
        let (concerns, _) = watch::channel(Concerns::default());
        Self { pair, concerns, metrics, readiness }
    }

    /// The pair in force.
    #[must_use]
    pub fn pair(&self) -> Option<Arc<Pair>> {
        self.pair.borrow().clone()
    }

    /// Waits until there is one.
    pub async fn is_there(&self) {
        // It cannot fail: the sender is ours.
        let _ = self.pair.subscribe().wait_for(Option::is_some).await;
    }

    /// What is not as it should be, from now on.
    #[must_use]
    pub fn concerns(&self) -> watch::Receiver<Concerns> {
        self.concerns.subscribe()
    }

    /// A newer pair, and what the API server would say of it. It is taken up when it is in order; and when there is no better
    /// one, if only the clock speaks against it, which may be ours that is wrong. `is_good` says of a pair what the API
    /// server would.
    pub fn offer(&self, pair: &Pair, checked: Result<(), PairFault>, is_good: impl Fn(&Pair) -> bool, now: Timestamp) {
        let Err(fault) = checked else { return self.take(pair, None, now) };
        let is_better = match self.pair() {
            None => fault.is_of_the_clock(),
            Some(before) => fault.is_of_the_clock() && (before.is_same(pair) || !is_good(&before)),
        };
        if is_better { self.take(pair, Some(&fault), now) } else { self.refuse(&fault.to_string()) }
    }

    /// Takes a pair up. `fault` says what is wrong with it where there is no better one.
    pub fn take(&self, pair: &Pair, fault: Option<&PairFault>, now: Timestamp) {
        let is_new = self.pair.borrow().as_ref().is_none_or(|before| !before.is_same(pair));
        if is_new {
            let leaf = pair.leaf().facts();
            let days_left = (leaf.not_after.as_second() - now.as_second()) / (24 * 60 * 60);
            info!(days_left, not_after = %leaf.not_after, sha256 = leaf.sha256, "serving certificate in force");
            self.metrics.certificate_expiry(leaf.not_after.as_second());
            self.pair.send_replace(Some(Arc::new(pair.clone())));
        }
        self.readiness.set(READINESS, Ok(()));
        let why = fault.map(|fault| format!("it is in force, as there is no better one: {fault}"));
        if self.say(why.clone()) {
            match why {
                Some(why) => error!("the serving certificate is not in order: {why}"),
                None => info!("the newest serving certificate is in order again"),
            }
        }
        self.look(now);
    }

    /// The newest pair cannot be used: the last good one stays, if there is one.
    pub fn refuse(&self, why: &str) {
        if self.pair.borrow().is_some() {
            if self.say(Some(format!("the last good one stays in force: {why}"))) {
                warn!(error = why, "the new serving certificate cannot be used; the last one stays");
            }
        } else {
            self.readiness.set(READINESS, Err(why.to_owned()));
            if self.say(Some(why.to_owned())) {
                warn!(error = why, "there is no serving certificate yet");
            }
        }
    }

    /// Looks at the clock now and then, for as long as the process lives.
    pub async fn watch_the_clock(self: Arc<Self>) -> Infallible {
        loop {
            self.look(Timestamp::now());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// TLS 1.2 and 1.3 with the pair that is in force at each handshake, which fails where there is none; HTTP/2 and
    /// HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// When the crypto provider supports neither TLS version.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Handshakes(self.pair.subscribe())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Whether it is news.
    fn say(&self, newest: Option<String>) -> bool {
        self.metrics.certificate_errors(newest.is_some());
        let is_news = self.concerns.send_if_modified(|concerns| {
            let is_news = concerns.newest != newest;
            concerns.newest.clone_from(&newest);
            is_news
        });
        // Without a pair it is what is missing, and said as such.
        let remark = newest.filter(|_| self.pair.borrow().is_some());
        self.readiness.remark(READINESS, NEWEST, remark);
        is_news
    }

    fn look(&self, now: Timestamp) {
        let expiry =
            self.pair.borrow().as_ref().and_then(|pair| expiry(pair.leaf().not_before(), pair.leaf().not_after(), now));
        let is_news = self.concerns.send_if_modified(|concerns| {
            let is_news = concerns.expiry != expiry;
            concerns.expiry.clone_from(&expiry);
            is_news
        });
        if let Some(expiry) = expiry.as_ref().filter(|_| is_news) {
            error!("the serving certificate {expiry}");
        }
        self.readiness.remark(READINESS, EXPIRY, expiry);
    }
}

/// Where there is something to be said of the end: the same words for a day.
fn expiry(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Option<String> {
    let left = not_after.duration_since(now);
    if left.is_negative() {
        Some(format!("expired at {not_after}: the API server refuses it"))
    } else if left <= WARNED.min(not_after.duration_since(not_before) / 3) {
        Some(format!("expires at {not_after}, in {} days", left.as_hours() / 24))
    } else {
        None
    }
}

/// Answers every handshake with the pair that is in force.
#[derive(Debug)]
struct Handshakes(watch::Receiver<Option<Arc<Pair>>>);

impl ResolvesServerCert for Handshakes {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(|pair| Arc::clone(pair.certified()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_of_14_days_before_and_no_sooner_than_in_the_last_third() {
        let at = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        for (life, told) in [(90, 76), (21, 14), (7, 5)] {
            assert_eq!(expiry(at(0), at(life), at(told - 1)), None, "{life}");
            assert!(expiry(at(0), at(life), at(told)).is_some_and(|said| said.starts_with("expires")), "{life}");
        }
        assert!(expiry(at(0), at(7), at(8)).is_some_and(|said| said.starts_with("expired")));
    }
}
