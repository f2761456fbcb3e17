//! A look past the watches: what was made a moment ago may not have reached them yet.
//!
//! A namespace, its secret and a pod are often made at once. Before it is said of a secret that it is missing, or not
//! what the pod needs, the API server itself is asked, once, by the same access that the watches have.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::review::{InDoubt, Known, PullSecrets};

use super::super::watching::Fault;
use super::store::Selection;
use super::watched::WatchedSecret;

/// So many Secrets come at a time, each of up to 1.4 MB: pod authors cause these questions, and several are under way.
const PAGE: u32 = 16;

/// So many questions by name are under way at once, however many pods are being made.
const MOST_AT_ONCE: usize = 32;

/// And so many for all docker configs of a namespace: each may hold a page of Secrets of 1 MiB in memory.
const MOST_LISTS_AT_ONCE: usize = 2;

/// Of a pod with more secrets in doubt, these are asked for.
const MOST_OF_A_POD: usize = 16;

/// An API server that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(1);

/// Asks the API server for the secrets of one namespace.
pub struct SecondLook {
    client: Client,
    turns: Semaphore,
    list_turns: Semaphore,
}

/// Why there is no answer.
enum Unanswered {
    /// We may not look.
    Forbidden(String),
    /// Anything else, or too late.
    Other(String),
}

impl SecondLook {
    /// With the access that the watches have.
    pub fn new(client: Client) -> Self {
        Self { client, turns: Semaphore::new(MOST_AT_ONCE), list_turns: Semaphore::new(MOST_LISTS_AT_ONCE) }
    }

    /// `known`, with what the API server says now of what is in doubt. What nobody may look at is not asked for, and what
    /// it refuses to tell is not known any more.
    ///
    /// What it does not answer within `budget` stays as it is known. The watches saw that, and are told of a change as
    /// soon as there is one; were it unknown, a burst of pods that slows the API server down would get every pod past
    /// `onMissingPullSecret: deny`.
    pub async fn take(&self, namespace: &str, known: PullSecrets, doubt: &InDoubt, budget: Duration) -> PullSecrets {
        let names = doubt.names.iter().filter(|name| !matches!(known.get(name), Known::Unknown));
        let named = names.take(MOST_OF_A_POD).map(|name| Selection::Named(name.as_str().into()));
        let mut selections: Vec<Selection> = named.collect();
        if doubt.discovered && known.docker_configs().is_some() {
            selections.push(Selection::DockerConfigs);
        }
        let asked = selections.iter().map(async |selection| {
            let answer = tokio::time::timeout(budget.min(LONGEST), self.ask(namespace, selection)).await;
            answer.unwrap_or_else(|_| Err(Unanswered::Other("not answered in time".to_owned())))
        });
        let mut looked = known;
        for (selection, answer) in selections.iter().zip(join_all(asked).await) {
            match (selection, answer) {
                (Selection::Named(name), Ok(mut found)) => {
                    looked.put(name, found.pop().map(|found| Arc::new(found.content)))
                }
                (Selection::DockerConfigs, Ok(found)) => {
                    for found in found {
                        let name = found.place().1.to_owned();
                        looked.put(&name, Some(Arc::new(found.content)));
                    }
                }
                (selection, Err(Unanswered::Forbidden(fault))) => {
                    debug!(namespace, fault, "the second look at the pull secrets is forbidden");
                    match selection {
                        Selection::Named(name) => looked.unknown_from_now(name),
                        Selection::DockerConfigs => looked.discover_no_more(),
                    }
                }
                (_, Err(Unanswered::Other(fault))) => {
                    debug!(namespace, fault, "the second look at the pull secrets failed")
                }
            }
        }
        looked
    }

    async fn ask(&self, namespace: &str, selection: &Selection) -> Result<Vec<WatchedSecret>, Unanswered> {
        let turns = match selection {
            Selection::Named(_) => &self.turns,
            Selection::DockerConfigs => &self.list_turns,
        };
        let _turn = turns.acquire().await.map_err(|closed| Unanswered::Other(closed.to_string()))?;
        let api: Api<WatchedSecret> = Api::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().fields(&selection.fields()).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = api.list(&params).await.map_err(|fault| Unanswered::of(&fault))?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }
}

impl Unanswered {
    /// Not in the words of the fault, which may quote what it could not read.
    fn of(fault: &kube::Error) -> Self {
        match Fault::of_request(fault) {
            Fault::Forbidden(words) => Self::Forbidden(words),
            Fault::Other(words) => Self::Other(words),
        }
    }
}

impl fmt::Debug for SecondLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondLook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::super::super::scripted::scripted;
    use super::*;
    use crate::keyring::PullSecret;
    use crate::review::{Scope, SecretsByName};

    const BUDGET: Duration = Duration::from_secs(5);

    /// `gone` and `late` were looked for, as `other` could not be; `gone` is known, and covers nothing.
    fn known(all_docker_configs: bool) -> PullSecrets {
        let names = [("gone".to_owned(), true), ("late".to_owned(), true), ("other".to_owned(), false)].into();
        let scope = Scope { names, all_docker_configs, has_cluster: true };
        let gone = Arc::new(PullSecret::read("Opaque", |_| None));
        PullSecrets::new(Arc::new(SecretsByName::from([("gone".into(), gone)])), Arc::new(scope))
    }

    fn doubt(names: &[&str], discovered: bool) -> InDoubt {
        InDoubt { names: names.iter().map(ToString::to_string).collect(), discovered }
    }

    fn list(names: &[&str]) -> (u16, String) {
        let config = STANDARD.encode(r#"{"auths": {"harbor.corp": {}}}"#);
        let item = |name: &&str| {
            json!({
                "metadata": {"name": name, "namespace": "team-a"}, "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": config},
            })
        };
        let items: Vec<Value> = names.iter().map(item).collect();
        (200, json!({"metadata": {"resourceVersion": "5"}, "items": items}).to_string())
    }

    fn covers(secrets: &PullSecrets, name: &str) -> bool {
        matches!(secrets.get(name), Known::Secret(PullSecret::DockerConfig(coverage)) if coverage.covers("harbor.corp/a"))
    }

    #[tokio::test]
    async fn s6_what_is_in_doubt_is_asked_for_by_name_in_its_namespace() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let client = scripted(move |uri| {
            log.lock().unwrap().push(uri.to_owned());
            list(if uri.contains("late") { &["late"] } else { &[] })
        });
        let doubt = doubt(&["gone", "late", "other"], true);
        let looked = SecondLook::new(client).take("team-a", known(false), &doubt, BUDGET).await;
        assert!(covers(&looked, "late"));
        assert_eq!((looked.get("gone"), looked.get("other")), (Known::Missing, Known::Unknown));
        // Neither what nobody may look at, nor all docker configs where they are not watched.
        let mut asked = asked.lock().unwrap().clone();
        asked.sort();
        let path = "/api/v1/namespaces/team-a/secrets?&fieldSelector=metadata.name%3D";
        assert_eq!(asked, [format!("{path}gone&limit=16"), format!("{path}late&limit=16")]);
    }

    #[tokio::test]
    async fn s6_all_docker_configs_are_asked_for_where_none_was_discovered() {
        let client = scripted(|uri| {
            let selected = "/team-a/secrets?&fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson&limit=16";
            assert!(uri.contains(selected), "{uri}");
            match uri.ends_with("&continue=next") {
                false => {
                    (200, list(&["one"]).1.replace(r#""resourceVersion""#, r#""continue":"next","resourceVersion""#))
                }
                true => list(&["two"]),
            }
        });
        let looked = SecondLook::new(client).take("team-a", known(true), &doubt(&[], true), BUDGET).await;
        assert!(covers(&looked, "one") && covers(&looked, "two"));
    }

    fn refusing(code: u16) -> SecondLook {
        SecondLook::new(scripted(move |_| (code, json!({"code": code, "message": "no"}).to_string())))
    }

    #[tokio::test]
    async fn s6_without_an_answer_it_stays_as_it_is_known() {
        let looked = refusing(500).take("team-a", known(true), &doubt(&["gone", "late"], true), BUDGET).await;
        assert!(matches!(looked.get("gone"), Known::Secret(_)) && looked.get("late") == Known::Missing);
        assert!(looked.docker_configs().is_some());
        let late = SecondLook::new(scripted(|_| list(&["late"])));
        let _all = late.turns.acquire_many(MOST_AT_ONCE as u32).await.unwrap();
        let looked = late.take("team-a", known(false), &doubt(&["late"], false), Duration::from_millis(20)).await;
        assert_eq!(looked.get("late"), Known::Missing);
    }

    #[tokio::test]
    async fn s6_what_the_api_server_refuses_to_tell_is_not_missing() {
        let looked = refusing(403).take("team-a", known(true), &doubt(&["gone", "late"], false), BUDGET).await;
        assert_eq!((looked.get("gone"), looked.get("late")), (Known::Unknown, Known::Unknown));
        assert!(looked.docker_configs().is_some());
        let looked = refusing(403).take("team-a", known(true), &doubt(&[], true), BUDGET).await;
        assert!(looked.docker_configs().is_none());
    }

    #[tokio::test]
    async fn s6_an_answer_that_is_late_costs_no_other() {
        let looks = SecondLook::new(scripted(|_| list(&["late"])));
        let _all = looks.list_turns.acquire_many(MOST_LISTS_AT_ONCE as u32).await.unwrap();
        let looked = looks.take("team-a", known(true), &doubt(&["late"], true), Duration::from_millis(200)).await;
        assert!(covers(&looked, "late"));
    }
}
