//! Kubernetes Events on the policy ConfigMap: what `kubectl describe` shows to whoever edited it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tracing::warn;

/// The API server refuses a longer note (bytes).
const MOST_NOTE_BYTES: usize = 1024;

/// How long the writing of an Event may hold up the watch.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Writes Events about one object. Each is an object of its own: an aggregated series would keep the first note, and
/// with it the line numbers of an older edit.
pub(super) struct Events {
    api: Api<Event>,
    namespace: String,
    /// The name of this replica.
    instance: String,
    /// What we were doing.
    action: &'static str,
}

/// `type` of an Event.
#[derive(Clone, Copy)]
pub(super) enum Severity {
    Normal,
    Warning,
}

impl Events {
    pub(super) fn new(client: Client, namespace: &str, instance: String, action: &'static str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned(), instance, action }
    }

    /// Writes an Event; that it could not be written is logged, and nothing else depends on it.
    pub(super) async fn write(&self, regarding: ObjectReference, severity: Severity, reason: &str, note: &str) {
        let now = Timestamp::now();
        let name = regarding.name.as_deref().unwrap_or("mirrorgate");
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                ..ObjectMeta::default()
            },
            action: Some(self.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(cut(note)),
            reason: Some(reason.to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some("mirrorgate.dev/mirrorgate".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(match severity {
                Severity::Normal => "Normal".to_owned(),
                Severity::Warning => "Warning".to_owned(),
            }),
            ..Event::default()
        };
        let written = tokio::time::timeout(TIMEOUT, self.api.create(&PostParams::default(), &event)).await;
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, reason, "an Event on the policy ConfigMap could not be written"),
            Err(_) => warn!(error = "timed out", reason, "an Event on the policy ConfigMap could not be written"),
        }
    }
}

/// Whole lines as far as they fit, and a word on the rest.
fn cut(note: &str) -> String {
    const MORE: &str = "\n... and more: the log of mirrorgate has all";
    if note.len() <= MOST_NOTE_BYTES {
        return note.to_owned();
    }
    let room = note.floor_char_boundary(MOST_NOTE_BYTES - MORE.len());
    let end = note[..room].rfind('\n').unwrap_or(room);
    format!("{}{MORE}", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_ends_at_a_line_and_says_so() {
        let note = (1..200).map(|n| format!("line {n}: wröng")).collect::<Vec<_>>().join("\n");
        let cut = cut(&note);
        assert!(cut.len() <= MOST_NOTE_BYTES, "{}", cut.len());
        assert!(cut.ends_with("wröng\n... and more: the log of mirrorgate has all"), "{cut}");
        assert_eq!(super::cut("line 1: wrong"), "line 1: wrong");
        assert!(super::cut(&"ö".repeat(2000)).len() <= MOST_NOTE_BYTES);
    }
}
