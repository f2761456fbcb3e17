//! `mirrorgate rbac`: the least access to Secrets that a policy needs (S5).

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::policy::Policy;

use super::{Output, OutputArgs, policy_file, print_result};

/// The service account of `manifests/base`, and what its objects are labelled with.
const SERVICE_ACCOUNT: &str = "mirrorgate";

/// The two roles: for the names in the policy, and for all Secrets.
const NAMED: &str = "mirrorgate-pull-secrets";
const ALL: &str = "mirrorgate-discover-pull-secrets";

/// The most characters of a namespace's name.
const MOST_NAMESPACE: usize = 63;

/// Print the least access to Secrets that a policy needs: `mirrorgate rbac --policy FILE | kubectl apply -f -`
///
/// One ClusterRole for the names that the policy gives, to list and watch these and no others. Where it discovers
/// secrets, or makes their names for a namespace, another one for all Secrets: RBAC cannot be told which. What an
/// earlier policy needed `kubectl apply` leaves in place: a comment behind the objects has the command that removes it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy document
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The namespace that mirrorgate runs in
    #[arg(long, value_name = "NAME", default_value = "mirrorgate-system", value_parser = namespace)]
    namespace: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { policy, namespace, output: OutputArgs { output } } = self;
        let Some(policy) = policy_file::load(&policy)? else { return Ok(ExitCode::FAILURE) };
        let roles = roles(&policy, &namespace);
        match output {
            Output::Json => {
                let items: Vec<Value> = roles.iter().flat_map(Role::objects).collect();
                let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
                print_result(format!("{list:#}\n").as_bytes())?;
            }
            Output::Text => print_result(text(&roles).as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A namespace's name, which goes into YAML as it is.
fn namespace(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = text.as_bytes();
    if bytes.iter().copied().all(is_plain)
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.len() <= MOST_NAMESPACE
    {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a namespace has at most {MOST_NAMESPACE} lower-case letters, digits and `-`, which stands at neither end"
    ))
}

/// The objects, and behind them how to remove what an earlier policy needed and this one does not.
fn text(roles: &[Role<'_>]) -> String {
    let documents: Vec<String> = roles.iter().map(ToString::to_string).collect();
    let mut text = documents.join("---\n");
    if roles.is_empty() {
        text += "# This policy names no pull secrets: mirrorgate needs no access to Secrets.\n";
    }
    let unneeded: Vec<&str> =
        [NAMED, ALL].into_iter().filter(|name| roles.iter().all(|role| role.name != *name)).collect();
    if !unneeded.is_empty() {
        let names = unneeded.join(" ");
        text += "# `kubectl apply` removes nothing. What an earlier policy needed, and this one does not:\n";
        text += &format!("# kubectl delete clusterrolebinding,clusterrole {names} --ignore-not-found\n");
    }
    text
}

fn roles<'p>(policy: &'p Policy, namespace: &'p str) -> Vec<Role<'p>> {
    let names: Vec<&str> = policy.secret_names().collect();
    let named = (!names.is_empty()).then_some(Role {
        name: NAMED,
        why: "The pull secrets that the policy names, in every namespace: these names and no others. Printed by `mirrorgate rbac`.",
        names,
        namespace,
    });
    let all = policy.needs_all_docker_configs().then_some(Role {
        name: ALL,
        why: "All Secrets of all namespaces, since the policy has `discover: true`, or `{namespace}` in the name of a secret: RBAC knows\n\
              # neither types nor patterns. Only those of type kubernetes.io/dockerconfigjson are asked for, and of these only the\n\
              # registries that they cover are kept. A policy that names its secrets needs none of this. Printed by `mirrorgate rbac`.",
        names: Vec::new(),
        namespace,
    });
    named.into_iter().chain(all).collect()
}

/// A ClusterRole and its binding to our service account.
struct Role<'p> {
    name: &'static str,
    why: &'static str,
    /// None: all Secrets.
    names: Vec<&'p str>,
    namespace: &'p str,
}

impl Role<'_> {
    fn objects(&self) -> [Value; 2] {
        let metadata = json!({"name": self.name, "labels": {"app.kubernetes.io/name": SERVICE_ACCOUNT}});
        let mut rule = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]});
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        [
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata,
                "rules": [rule],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.name},
                "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": self.namespace}],
            }),
        ]
    }
}

/// As YAML that a person reads. Names of secrets are quoted: `123` and `on` are such names.
impl fmt::Display for Role<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why, names, namespace } = self;
        let metadata = format!("metadata:\n  name: {name}\n  labels: {{app.kubernetes.io/name: {SERVICE_ACCOUNT}}}\n");
        write!(f, "# {why}\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n{metadata}")?;
        write!(f, "rules:\n- apiGroups: [\"\"]\n  resources: [secrets]\n")?;
        if !names.is_empty() {
            writeln!(f, "  resourceNames:")?;
        }
        for name in names {
            writeln!(f, "  - \"{name}\"")?;
        }
        write!(f, "  verbs: [list, watch]\n---\n")?;
        write!(f, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n{metadata}")?;
        write!(f, "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {name}\n")?;
        write!(f, "subjects:\n- kind: ServiceAccount\n  name: {SERVICE_ACCOUNT}\n  namespace: {namespace}\n")
    }
}
