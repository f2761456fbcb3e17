//! What was read of the cluster, and what could not be.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::version::Info;

use crate::cluster::{POLICY_CONFIG_MAP, POLICY_KEY};

use super::certificate::Maker;

/// The namespace that the manifests are written for.
pub(super) const SHIPPED_NAMESPACE: &str = "mirrorgate-system";

/// What was read, or why it was not.
pub(super) type Read<T> = Result<T, Unread>;

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not there.
    Absent,
    /// The user may not read it: this access is needed.
    Forbidden(Access),
    /// The API server gave no answer, or another one.
    Failed(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is not there"),
            Self::Forbidden(access) => write!(f, "you may not look; this needs the access to {access}"),
            Self::Failed(why) => write!(f, "the API server did not tell: {why}"),
        }
    }
}

/// One thing that may be done, as RBAC knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Access {
    pub(super) verb: String,
    /// Empty: the core group.
    pub(super) group: String,
    pub(super) resource: String,
    /// None: whatever their names.
    pub(super) name: Option<String>,
    /// None: in all of them, or in none.
    pub(super) namespace: Option<String>,
}

impl Access {
    pub(super) fn to(verb: &str, group: &str, resource: &str) -> Self {
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: None,
            namespace: None,
        }
    }

    #[must_use]
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    #[must_use]
    pub(super) fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }
}

/// `list secrets/harbor-pull in team-a`, `get deployments.apps in all namespaces`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, name, namespace } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(name) = name {
            write!(f, "/{name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// What does not depend on anything else.
pub(super) struct Facts {
    /// mirrorgate's own.
    pub(super) namespace: String,
    pub(super) now: Timestamp,
    pub(super) version: Read<Info>,
    pub(super) deployment: Read<Deployment>,
    pub(super) mutating: Read<MutatingWebhookConfiguration>,
    pub(super) validating: Read<ValidatingWebhookConfiguration>,
    pub(super) service: Read<Service>,
    pub(super) endpoints: Read<Vec<EndpointSlice>>,
    pub(super) serving: Read<ServingPair>,
    pub(super) policy: Read<ConfigMap>,
    /// The one that guards `caBundle`, and the one for the label.
    pub(super) bundle_policy: AdmissionPolicy,
    pub(super) label_policy: AdmissionPolicy,
    pub(super) namespaces: Read<Vec<Labelled>>,
}

/// A ValidatingAdmissionPolicy of ours, and its binding.
pub(super) struct AdmissionPolicy {
    pub(super) policy: Read<ValidatingAdmissionPolicy>,
    pub(super) binding: Read<ValidatingAdmissionPolicyBinding>,
}

/// The Secret with the serving pair, as far as it is there. Without `Debug`: it has the key.
#[derive(Clone, Default)]
pub(super) struct ServingPair {
    pub(super) chain: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) authority: Option<Vec<u8>>,
}

/// A namespace, by what decides whether it opted in.
#[derive(Clone, Debug, Default)]
pub(super) struct Labelled {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) terminating: bool,
}

/// How a namespace opted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Enforce,
    Audit,
}

/// The label by which it does.
pub(super) const MODE: &str = "mirrorgate.dev/mode";

impl Labelled {
    /// `own` is mirrorgate's namespace, which the webhooks leave out as they do the API server's.
    pub(super) fn mode(&self, own: &str) -> Option<Mode> {
        if is_left_out(&self.name, own) {
            return None;
        }
        match self.labels.get(MODE)?.as_str() {
            "enforce" => Some(Mode::Enforce),
            "audit" => Some(Mode::Audit),
            _ => None,
        }
    }
}

/// Whether the webhooks leave a namespace out by its name.
pub(super) fn is_left_out(name: &str, own: &str) -> bool {
    ["kube-system", "kube-node-lease", own].contains(&name)
}

impl Facts {
    /// The namespaces that opted in, as far as they are known.
    pub(super) fn opted_in(&self) -> Vec<(&Labelled, Mode)> {
        let namespaces = self.namespaces.iter().flatten();
        namespaces.filter_map(|namespace| Some((namespace, namespace.mode(&self.namespace)?))).collect()
    }

    /// What makes the installation anew from what ships, by the way that it was installed.
    pub(super) fn install_again(&self) -> String {
        if let Some((release, namespace)) = self.helm_release() {
            let upgrade = format!("helm -n {namespace} upgrade --reset-then-reuse-values {release} manifests/chart");
            // What was edited since stays, and the chart upgrades nothing without a policy.
            let policy = self.policy.as_ref().ok().and_then(|found| found.data.as_ref());
            if !policy.is_some_and(|data| data.contains_key(POLICY_KEY)) {
                return upgrade;
            }
            return format!(
                "kubectl -n {} get configmap {POLICY_CONFIG_MAP} -o go-template='{{{{index .data \"{POLICY_KEY}\"}}}}' >policy.yaml && {upgrade} --set-file policy=policy.yaml",
                self.namespace
            );
        }
        if self.namespace != SHIPPED_NAMESPACE {
            // The chart, rendered by something else than Helm. What kustomize takes would turn the webhooks away from here.
            return format!(
                "# apply again what {} was made from, the chart mostly: manifests/base is for {SHIPPED_NAMESPACE} alone",
                self.namespace
            );
        }
        let folder = match Maker::of(self) {
            Maker::SelfManaged | Maker::Files => "manifests/base",
            Maker::Own => "manifests/overlays/own-certificate",
            Maker::CertManager => "manifests/overlays/cert-manager",
        };
        format!("kubectl apply -k {folder}  # or the overlay of yours")
    }

    /// What puts back the objects of one file of the base, and leaves alone what was edited since in the others: image and
    /// policy above all.
    pub(super) fn restore(&self, file: &str) -> String {
        let is_patched = Maker::of(self) == Maker::CertManager && ["webhook.yaml", "policy-guard.yaml"].contains(&file);
        if self.helm_release().is_some() || is_patched || self.namespace != SHIPPED_NAMESPACE {
            return self.install_again();
        }
        format!("kubectl apply -f manifests/base/{file}")
    }

    /// What puts the policy back.
    pub(super) fn restore_policy(&self) -> String {
        if self.helm_release().is_some() {
            return self.install_again();
        }
        format!(
            "kubectl -n {} create configmap {POLICY_CONFIG_MAP} --from-file={POLICY_KEY}=manifests/base/policy.yaml --dry-run=client -o yaml | kubectl apply -f -",
            self.namespace
        )
    }

    /// The release that Helm made the installation by, and its namespace.
    fn helm_release(&self) -> Option<(&str, &str)> {
        let metadata = [
            self.deployment.as_ref().ok().map(|found| &found.metadata),
            self.mutating.as_ref().ok().map(|found| &found.metadata),
            self.service.as_ref().ok().map(|found| &found.metadata),
        ];
        metadata.into_iter().flatten().find_map(|metadata| {
            let annotations = metadata.annotations.as_ref()?;
            let value = |key: &str| annotations.get(key).map(String::as_str).filter(|value| is_name(value));
            Some((value("meta.helm.sh/release-name")?, value("meta.helm.sh/release-namespace")?))
        })
    }
}

/// Whether a shell takes it as it is.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(is_plain)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cluster of which nothing could be read.
    pub(in super::super) fn facts() -> Facts {
        fn no<T>() -> Read<T> {
            Err(Unread::Failed("nobody asked".to_owned()))
        }
        Facts {
            namespace: "mirrorgate-system".to_owned(),
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            version: no(),
            deployment: no(),
            mutating: no(),
            validating: no(),
            service: no(),
            endpoints: no(),
            serving: no(),
            policy: no(),
            bundle_policy: AdmissionPolicy { policy: no(), binding: no() },
            label_policy: AdmissionPolicy { policy: no(), binding: no() },
            namespaces: no(),
        }
    }

    #[test]
    fn what_is_put_back_is_one_file_where_that_can_be() {
        let deployment = |argument: &str| {
            let container = serde_json::json!({"name": "mirrorgate", "args": ["serve", argument]});
            let spec = serde_json::json!({"selector": {}, "template": {"spec": {"containers": [container]}}});
            Ok(serde_json::from_value(serde_json::json!({ "spec": spec })).unwrap())
        };
        assert_eq!(facts().restore("webhook.yaml"), "kubectl apply -f manifests/base/webhook.yaml");
        let cert_manager = Facts { deployment: deployment("--serving-certificate=cert-manager"), ..facts() };
        assert!(cert_manager.restore("webhook.yaml").starts_with("kubectl apply -k manifests/overlays/cert-manager "));
        assert_eq!(cert_manager.restore("rbac.yaml"), "kubectl apply -f manifests/base/rbac.yaml");
        let elsewhere = Facts { namespace: "elsewhere".to_owned(), ..facts() };
        assert_eq!(
            elsewhere.restore("rbac.yaml"),
            "# apply again what elsewhere was made from, the chart mostly: manifests/base is for mirrorgate-system alone"
        );
    }

    #[test]
    fn what_is_installed_again_is_what_was_installed() {
        let made = |annotations: serde_json::Value, arguments: &[&str]| {
            let deployment = serde_json::from_value(serde_json::json!({
                "metadata": {"annotations": annotations},
                "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "mirrorgate", "args": arguments}]}}},
            }));
            Facts { deployment: Ok(deployment.unwrap()), ..facts() }
        };
        let with = |annotations, arguments: &[&str]| made(annotations, arguments).install_again();
        let helm = |name: &str| {
            let annotations =
                serde_json::json!({"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "tools"});
            with(annotations, &["serve"])
        };
        assert_eq!(helm("gate"), "helm -n tools upgrade --reset-then-reuse-values gate manifests/chart");
        let release =
            serde_json::json!({"meta.helm.sh/release-name": "gate", "meta.helm.sh/release-namespace": "tools"});
        let policy = serde_json::from_value(serde_json::json!({"data": {"policy.yaml": "x"}})).unwrap();
        assert_eq!(
            Facts { policy: Ok(policy), ..made(release, &["serve"]) }.install_again(),
            "kubectl -n mirrorgate-system get configmap mirrorgate-policy -o go-template='{{index .data \"policy.yaml\"}}' >policy.yaml \
             && helm -n tools upgrade --reset-then-reuse-values gate manifests/chart --set-file policy=policy.yaml"
        );
        assert!(helm("$(reboot)").starts_with("kubectl apply -k manifests/base "));
        let none = || serde_json::json!({});
        let own = with(none(), &["serve", "--serving-certificate=own"]);
        assert!(own.starts_with("kubectl apply -k manifests/overlays/own-certificate "), "{own}");
        let cert_manager = with(none(), &["serve", "--serving-certificate=cert-manager"]);
        assert!(cert_manager.starts_with("kubectl apply -k manifests/overlays/cert-manager "), "{cert_manager}");
    }
}
