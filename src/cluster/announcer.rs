//! What is wrong, and what is right again, said once: in the log, and in an Event on the policy ConfigMap.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use tokio::time::Instant;
use tracing::{info, warn};

use super::events::{Events, Severity};
use super::policy::{POLICY_CONFIG_MAP, reference};

/// What happens within it is told in one breath: several watches are refused at once.
const BREATH: Duration = Duration::from_secs(1);

/// Something that is in order or not, by its own.
pub(super) trait Topic: Ord + Clone {
    /// What is said of it: of what is wrong, or, without that, that it is in order again.
    fn statement(&self, wrong: Option<&str>) -> Statement;
}

/// An Event to be, and a line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) reason: &'static str,
    pub(super) note: String,
    /// Whether somebody else has said it in the log.
    pub(super) is_logged: bool,
}

impl Statement {
    fn log(&self, severity: Severity) {
        let Self { reason, note, is_logged } = self;
        match severity {
            _ if *is_logged => {}
            Severity::Warning => warn!(reason, "{note}"),
            Severity::Normal => info!(reason, "{note}"),
        }
    }
}

/// Says how the topics are, when that changed. What is in order from the beginning is not said.
pub(super) struct Announcer<T> {
    events: Arc<Events>,
    policy: Api<ConfigMap>,
    namespace: String,
    topics: BTreeMap<T, State>,
    /// What happened once.
    news: Vec<(Severity, Statement)>,
    due: Option<Instant>,
    /// The Events that are being written: no watch waits for them.
    writing: Option<BoxFuture<'static, ()>>,
}

#[derive(Default)]
struct State {
    wrong: Option<String>,
    /// What of that was said last.
    said: Option<String>,
}

impl<T: Topic> Announcer<T> {
    /// `namespace` is mirrorgate's own, where the policy is; `instance` names this replica, `action` what we do.
    pub(super) fn new(client: Client, namespace: &str, instance: String, action: &'static str) -> Self {
        Self {
            events: Arc::new(Events::new(client.clone(), namespace, instance, action)),
            policy: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            topics: BTreeMap::new(),
            news: Vec::new(),
            due: None,
            writing: None,
        }
    }

    /// What is wrong with a topic from now on.
    pub(super) fn set(&mut self, topic: T, wrong: Option<String>) {
        let state = self.topics.entry(topic).or_default();
        if state.wrong != wrong {
            state.wrong = wrong;
            self.due.get_or_insert_with(|| Instant::now() + BREATH);
        }
    }

    /// What happened, and is no state. The log has it at once.
    pub(super) fn tell(&mut self, (severity, statement): (Severity, Statement)) {
        statement.log(severity);
        self.news.push((severity, statement));
        self.due.get_or_insert_with(|| Instant::now() + BREATH);
    }

    /// What is wrong with the topics.
    pub(super) fn wrong(&self) -> impl Iterator<Item = &str> {
        self.topics.values().filter_map(|state| state.wrong.as_deref())
    }

    /// Of topics that are of no interest any more nothing is said.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.topics.retain(|topic, _| keep(topic));
    }

    /// Says what is due; waits where nothing is. It may be dropped and called again at any time.
    pub(super) async fn say(&mut self) {
        if let Some(writing) = &mut self.writing {
            writing.await;
            self.writing = None;
            return;
        }
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => pending().await,
        }
        self.due = None;
        let mut statements = std::mem::take(&mut self.news);
        for (topic, State { wrong, said }) in &mut self.topics {
            if said == wrong {
                continue;
            }
            said.clone_from(wrong);
            let statement = topic.statement(wrong.as_deref());
            let severity = if wrong.is_some() { Severity::Warning } else { Severity::Normal };
            statement.log(severity);
            statements.push((severity, statement));
        }
        if statements.is_empty() {
            return;
        }
        let (events, policy, namespace) = (Arc::clone(&self.events), self.policy.clone(), self.namespace.clone());
        self.writing = Some(Box::pin(async move {
            // `kubectl describe` shows the Events that carry the object's uid.
            let config_map = policy.get_opt(POLICY_CONFIG_MAP).await.ok().flatten();
            for (severity, Statement { reason, note, .. }) in statements {
                events.write(reference(config_map.as_ref(), &namespace), severity, reason, &note).await;
            }
        }));
    }
}
