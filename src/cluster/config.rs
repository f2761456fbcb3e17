//! Which cluster, and as whom: the kubeconfig as kubectl finds it, else the pod's own service account.

use std::error::Error;

use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, KubeconfigError};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoCluster(String);

/// Finds one; with a name, the context of the kubeconfig that has it.
///
/// # Errors
/// When there is no kubeconfig that can be used, and this is no pod.
pub async fn find(context: Option<String>) -> Result<Config, NoCluster> {
    match context {
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await.map_err(|error| NoCluster(words(&error)))
        }
        None => Config::infer().await.map_err(|error| NoCluster(of_both(&error))),
    }
}

/// That this is no pod, nobody who types a command asks.
fn of_both(error: &InferConfigError) -> String {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(kubeconfig) => words(kubeconfig),
        None => error.to_string(),
    }
}

fn words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(why, path) => {
            format!("the kubeconfig {} cannot be read: {why}; KUBECONFIG names another", path.display())
        }
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig names no current context; kubectl config use-context NAME sets it".to_owned()
        }
        KubeconfigError::LoadContext(name) => {
            format!("the kubeconfig has no context {name}; kubectl config get-contexts lists them")
        }
        other => format!("the kubeconfig: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_is_wrong_with_the_kubeconfig_is_said_with_the_way_out() {
        let absent = KubeconfigError::ReadConfig(io::Error::other("no such file"), "/a/config".into());
        for (error, said) in [
            (absent, "the kubeconfig /a/config cannot be read: no such file; KUBECONFIG names another"),
            (
                KubeconfigError::CurrentContextNotSet,
                "the kubeconfig names no current context; kubectl config use-context NAME sets it",
            ),
            (
                KubeconfigError::LoadContext("x".to_owned()),
                "the kubeconfig has no context x; kubectl config get-contexts lists them",
            ),
            (KubeconfigError::MissingClusterUrl, "the kubeconfig: cluster url is missing on selected cluster"),
        ] {
            assert_eq!(words(&error), said);
        }
    }
}
