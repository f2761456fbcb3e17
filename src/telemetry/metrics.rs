//! The name of every metric, and its labels: all of them from bounded sets (mode, operation, result, a mirror's name
//! from the policy), never an image, a pod's namespace or a host that only a pod named.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds; a review takes tens of microseconds, its caller waits ten seconds at most.
const DURATION_BUCKETS: [f64; 15] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Seconds; from a registry next door to one that never answers.
const PROBE_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmissionLabels {
    mode: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModeLabels {
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ImageLabels {
    mirror: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    generation: u64,
    sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: &'static str,
}

/// Every metric of a running server. Cheap to update from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ready: Gauge,
    requests: Family<AdmissionLabels, Counter>,
    durations: Family<ModeLabels, Histogram, fn() -> Histogram>,
    images: Family<ImageLabels, Counter>,
    /// The name of no mirror: empty.
    no_mirror: Arc<str>,
    pull_secrets: Family<StateLabels, Counter>,
    probes: Family<VerdictLabels, Counter>,
    probe_durations: Histogram,
    verdict_cache_entries: Gauge,
    verdict_cache_requests: Family<ResultLabels, Counter>,
    policy_info: Family<PolicyLabels, Gauge>,
    policy_errors: Gauge,
    ca_bundle_errors: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
    certificate_errors: Gauge,
    watch_up: Family<WatchLabels, Gauge>,
    watch_objects: Family<WatchLabels, Counter>,
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("mirrorgate"),
            ready: Gauge::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            images: Family::default(),
            no_mirror: Arc::default(),
            pull_secrets: Family::default(),
            probes: Family::default(),
            probe_durations: Histogram::new(PROBE_BUCKETS),
            verdict_cache_entries: Gauge::default(),
            verdict_cache_requests: Family::default(),
            policy_info: Family::default(),
            policy_errors: Gauge::default(),
            ca_bundle_errors: Gauge::default(),
            certificate_expiry: Gauge::default(),
            certificate_errors: Gauge::default(),
            watch_up: Family::default(),
            watch_objects: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "ready",
            "Whether /readyz says ready (1) or names what is missing (0)",
            metrics.ready.clone(),
        );
        registry.register("admission_requests", "Admission reviews answered", metrics.requests.clone());
        registry.register("admission_duration_seconds", "Time to answer a review", metrics.durations.clone());
        registry.register("images", "Images seen in reviews", metrics.images.clone());
        registry.register(
            "pull_secrets",
            "Pull secrets of reviews, by what is known of them",
            metrics.pull_secrets.clone(),
        );
        registry.register("probes", "Registries asked, by what came of it", metrics.probes.clone());
        registry.register("probe_duration_seconds", "Time to ask a registry", metrics.probe_durations.clone());
        registry.register(
            "verdict_cache_entries",
            "Verdicts of registries that are kept and in force",
            metrics.verdict_cache_entries.clone(),
        );
        registry.register(
            "verdict_cache_requests",
            "Verdicts that reviews asked for, by how they were come by",
            metrics.verdict_cache_requests.clone(),
        );
        registry.register("policy_info", "The policy in force", metrics.policy_info.clone());
        registry.register(
            "policy_errors",
            "Faults in the newest policy document; 0 when it is in force",
            metrics.policy_errors.clone(),
        );
        registry.register(
            "ca_bundle_errors",
            "CA bundles whose newest state is not in force",
            metrics.ca_bundle_errors.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate ends, in Unix time",
            metrics.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_errors",
            "1 while the newest serving certificate is not in order and not, or only for want of a better one, in force",
            metrics.certificate_errors.clone(),
        );
        registry.register(
            "watch_up",
            "Whether the watch of a resource works (1) or runs on its last state (0)",
            metrics.watch_up.clone(),
        );
        registry.register(
            "watch_objects",
            "Objects that the API server sent to the watches of a resource",
            metrics.watch_objects.clone(),
        );
        metrics
    }

    /// Whether this process says that it can serve.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// One review: its mode (`policy` for the policy guard), operation and result, and the seconds it took. `result` is from a fixed set, such as
    /// `allowed`, `patched`, `denied` or `error`.
    pub fn admission(&self, mode: &'static str, operation: &'static str, result: &'static str, seconds: f64) {
        self.requests.get_or_create(&AdmissionLabels { mode, operation, result }).inc();
        self.durations.get_or_create(&ModeLabels { mode }).observe(seconds);
    }

    /// Images of a review; `mirror` is a name out of the policy; absent where no mirror served them.
    pub fn images(&self, mirror: Option<&Arc<str>>, result: &'static str, count: u64) {
        let mirror = mirror.unwrap_or(&self.no_mirror).clone();
        self.images.get_or_create(&ImageLabels { mirror, result }).inc_by(count);
    }

    /// Pull secrets of a review. `state` is `covers`, `does-not-cover`, `missing`, `not-a-docker-config`, `malformed` or
    /// `unknown`.
    pub fn pull_secrets(&self, state: &'static str, count: u64) {
        self.pull_secrets.get_or_create(&StateLabels { state }).inc_by(count);
    }

    /// One probe: its verdict and class, and the seconds it took.
    pub fn probe(&self, verdict: &'static str, class: &'static str, seconds: f64) {
        self.probes.get_or_create(&VerdictLabels { verdict, class }).inc();
        self.probe_durations.observe(seconds);
    }

    /// How many verdicts are in force.
    pub fn verdict_cache_entries(&self, entries: usize) {
        self.verdict_cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Verdicts that one review asked for. `result` is `hit` (kept), `miss` (probed in time), `late` (not there in time)
    /// or `refused` (not probed: over a bound).
    pub fn verdict_cache_requests(&self, result: &'static str, count: u64) {
        self.verdict_cache_requests.get_or_create(&ResultLabels { result }).inc_by(count);
    }

    /// A policy is in force; the one before it is no longer shown.
    pub fn policy_loaded(&self, generation: u64, sha256: &str) {
        self.policy_info.clear();
        self.policy_info.get_or_create(&PolicyLabels { generation, sha256: sha256.to_owned() }).set(1);
        self.policy_errors.set(0);
    }

    /// The newest policy document has this many faults and is not in force.
    pub fn policy_errors(&self, faults: usize) {
        self.policy_errors.set(i64::try_from(faults).unwrap_or(i64::MAX));
    }

    /// So many CA bundles are missing, empty or unreadable, and run on what they held before.
    pub fn ca_bundle_errors(&self, bundles: usize) {
        self.ca_bundle_errors.set(i64::try_from(bundles).unwrap_or(i64::MAX));
    }

    /// When the serving certificate ends, in seconds of Unix time.
    pub fn certificate_expiry(&self, unix_seconds: i64) {
        // Exact up to 2^53 seconds.
        self.certificate_expiry.set(unix_seconds as f64);
    }

    /// Whether the newest serving certificate is not in order.
    pub fn certificate_errors(&self, any: bool) {
        self.certificate_errors.set(i64::from(any));
    }

    /// Whether the watch of `resource` is up, or down with its last state in force.
    pub fn watch_up(&self, resource: &'static str, up: bool) {
        self.watch_up.get_or_create(&WatchLabels { resource }).set(i64::from(up));
    }

    /// A watch of `resource` was sent an object, in a list or for a change.
    pub fn watch_object(&self, resource: &'static str) {
        self.watch_objects.get_or_create(&WatchLabels { resource }).inc();
    }

    /// Everything in the OpenMetrics text format ([`Metrics::CONTENT_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a `String` does not fail.
            Err(std::fmt::Error) => String::from("# EOF\n"),
        }
    }

    /// The content type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that people and dashboards hold on to.
    #[test]
    fn every_metric_has_the_name_of_the_interface() {
        let metrics = Metrics::new();
        metrics.ready(true);
        metrics.admission("enforce", "CREATE", "patched", 0.00002);
        metrics.images(Some(&"harbor".into()), "rewritten", 2);
        metrics.pull_secrets("does-not-cover", 3);
        metrics.probe("unreachable", "timed-out", 2.0);
        metrics.verdict_cache_entries(4);
        metrics.verdict_cache_requests("hit", 5);
        metrics.policy_loaded(1, "aa");
        metrics.policy_loaded(2, "bb");
        metrics.policy_errors(3);
        metrics.ca_bundle_errors(2);
        metrics.certificate_expiry(1_800_000_000);
        metrics.certificate_errors(true);
        metrics.watch_up("configmaps", true);
        metrics.watch_object("secrets");
        let text = metrics.encode();
        for line in [
            "mirrorgate_ready 1",
            "mirrorgate_admission_requests_total{mode=\"enforce\",operation=\"CREATE\",result=\"patched\"} 1",
            "mirrorgate_admission_duration_seconds_bucket{le=\"0.00005\",mode=\"enforce\"} 1",
            "mirrorgate_admission_duration_seconds_count{mode=\"enforce\"} 1",
            "mirrorgate_images_total{mirror=\"harbor\",result=\"rewritten\"} 2",
            "mirrorgate_pull_secrets_total{state=\"does-not-cover\"} 3",
            "mirrorgate_probes_total{verdict=\"unreachable\",class=\"timed-out\"} 1",
            "mirrorgate_probe_duration_seconds_bucket{le=\"1.0\"} 0",
            "mirrorgate_probe_duration_seconds_count 1",
            "mirrorgate_verdict_cache_entries 4",
            "mirrorgate_verdict_cache_requests_total{result=\"hit\"} 5",
            "mirrorgate_policy_info{generation=\"2\",sha256=\"bb\"} 1",
            "mirrorgate_policy_errors 3",
            "mirrorgate_ca_bundle_errors 2",
            "mirrorgate_certificate_expiry_timestamp_seconds 1800000000.0",
            "mirrorgate_certificate_errors 1",
            "mirrorgate_watch_up{resource=\"configmaps\"} 1",
            "mirrorgate_watch_objects_total{resource=\"secrets\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("sha256=\"aa\""), "the old policy is still shown:\n{text}");
    }

    /// Older encoders wrote label values raw.
    #[test]
    fn a_mirror_name_cannot_break_the_format() {
        let metrics = Metrics::new();
        metrics.images(Some(&"a\"b\\c\nd".into()), "rewritten", 1);
        assert!(metrics.encode().contains(r#"mirror="a\"b\\c\nd""#), "{}", metrics.encode());
    }
}
