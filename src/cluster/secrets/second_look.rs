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

/// So many questions are under way at once, however many pods are being made.
const MOST_AT_ONCE: usize = 32;

/// An API server that takes longer is not waited for: then what the watches know is what is known.
const LONGEST: Duration = Duration::from_secs(1);

/// Asks the API server for the secrets of one namespace.
pub struct SecondLook {
    client: Client,
    turns: Semaphore,
}

impl SecondLook {
    /// With the access that the watches have.
    pub fn new(client: Client) -> Self {
        Self { client, turns: Semaphore::new(MOST_AT_ONCE) }
    }

    /// `known`, with what the API server says now of what is in doubt. What nobody may look at is not asked for; without
    /// an answer within `budget` it stays as it is known.
    pub async fn take(&self, namespace: &str, known: PullSecrets, doubt: &InDoubt, budget: Duration) -> PullSecrets {
        let names = doubt.names.iter().filter(|name| !matches!(known.get(name), Known::Unknown));
        let mut selections: Vec<Selection> = names.map(|name| Selection::Named(name.as_str().into())).collect();
        if doubt.discovered && known.docker_configs().is_some() {
            selections.push(Selection::DockerConfigs);
        }
        let asked = join_all(selections.iter().map(|selection| self.ask(namespace, selection)));
        let Ok(answers) = tokio::time::timeout(budget.min(LONGEST), asked).await else {
            debug!(namespace, "the second look at the pull secrets was not answered in time");
            return known;
        };
        let mut looked = known;
        for (selection, answer) in selections.iter().zip(answers) {
            match (selection, answer) {
                (Selection::Named(name), Ok(mut found)) => {
                    looked.put(name, found.pop().map(|found| Arc::new(found.secret)))
                }
                (Selection::DockerConfigs, Ok(found)) => {
                    for found in found {
                        let name = found.place().1.to_owned();
                        looked.put(&name, Some(Arc::new(found.secret)));
                    }
                }
                (_, Err(fault)) => debug!(namespace, %fault, "the second look at the pull secrets failed"),
            }
        }
        looked
    }

    async fn ask(&self, namespace: &str, selection: &Selection) -> Result<Vec<WatchedSecret>, String> {
        let _turn = self.turns.acquire().await.map_err(|closed| closed.to_string())?;
        let api: Api<WatchedSecret> = Api::namespaced(self.client.clone(), namespace);
        let listed = api.list(&ListParams::default().fields(&selection.fields())).await;
        // Not in the words of the fault, which may quote what it could not read.
        listed.map(|list| list.items).map_err(|fault| Fault::of_request(&fault).to_string())
    }
}

impl fmt::Debug for SecondLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondLook").finish_non_exhaustive()
    }
}
