//! `mirrorgate rbac`: the least access to Secrets and ConfigMaps that a policy needs (S5).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::policy::{BundleRef, KeyRef, Policy};

use super::{Output, OutputArgs, policy_file, print_result};

/// The service account of `manifests/base`, and what its objects are labelled with.
pub(super) const SERVICE_ACCOUNT: &str = "mirrorgate";

/// The two roles: for the names in the policy, and for all Secrets.
pub(super) const NAMED: &str = "mirrorgate-pull-secrets";
pub(super) const ALL: &str = "mirrorgate-discover-pull-secrets";
/// And the one in each namespace that has CA bundles of the policy.
pub(super) const BUNDLES: &str = "mirrorgate-ca-bundles";

/// What is done with all of them.
pub(super) const VERBS: [&str; 2] = ["list", "watch"];

/// The most characters of a namespace's name.
const MOST_NAMESPACE: usize = 63;

/// Print the least access that a policy needs: `mirrorgate rbac --policy FILE | kubectl apply -f -`
///
/// One ClusterRole for the pull secrets that the policy names, to list and watch these and no others. Where it discovers
/// secrets, or makes their names for a namespace, another one for all Secrets: RBAC cannot be told which. In each
/// namespace that has CA bundles of the policy, a Role for these ConfigMaps and Secrets by name. What an earlier policy
/// needed `kubectl apply` leaves in place: comments behind the objects have the commands that find and remove it.
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
pub(super) fn namespace(text: &str) -> Result<String, String> {
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
        text += "# This policy names no pull secrets, and no CA bundles in ConfigMaps or Secrets: mirrorgate needs no access to them.\n";
    }
    let unneeded: Vec<&str> =
        [NAMED, ALL].into_iter().filter(|name| roles.iter().all(|role| role.name != *name)).collect();
    text += "# `kubectl apply` removes nothing. What an earlier policy needed, and this one does not:\n";
    let namespaces: Vec<&str> = roles.iter().filter_map(|role| role.within).collect();
    let except = if namespaces.is_empty() { String::new() } else { format!(" but in {}", namespaces.join(", ")) };
    text +=
        &format!("# those of this list{except}, each by `kubectl -n NAMESPACE delete rolebinding,role {BUNDLES}`:\n");
    text += &format!("# kubectl get rolebindings,roles -A --field-selector metadata.name={BUNDLES}\n");
    if !unneeded.is_empty() {
        let names = unneeded.join(" ");
        text += &format!("# kubectl delete clusterrolebinding,clusterrole {names} --ignore-not-found\n");
    }
    text
}

/// The roles that a policy needs.
pub(super) fn roles<'p>(policy: &'p Policy, account: &'p str) -> Vec<Role<'p>> {
    let secrets = |names| vec![Rule { resource: "secrets", names }];
    let names: Vec<&str> = policy.secret_names().collect();
    let named = (!names.is_empty()).then(|| Role {
        name: NAMED,
        within: None,
        why: "The pull secrets that the policy names, in every namespace: these names and no others. Printed by `mirrorgate rbac`.",
        rules: secrets(names),
        account,
    });
    let all = policy.needs_all_docker_configs().then(|| Role {
        name: ALL,
        within: None,
        why: "All Secrets of all namespaces, since the policy has `discover: true`, or `{namespace}` in the name of a secret: RBAC knows\n\
              # neither types nor patterns. Only those of type kubernetes.io/dockerconfigjson are asked for, and of these only the\n\
              # registries that they cover are kept. A policy that names its secrets needs none of this. Printed by `mirrorgate rbac`.",
        rules: secrets(Vec::new()),
        account,
    });
    named.into_iter().chain(all).chain(bundle_roles(policy, account)).collect()
}

/// A Role in each namespace that has CA bundles.
fn bundle_roles<'p>(policy: &'p Policy, account: &'p str) -> impl Iterator<Item = Role<'p>> {
    let mut namespaces: BTreeMap<&str, BTreeMap<&'static str, Vec<&str>>> = BTreeMap::new();
    for bundle in policy.bundles() {
        let (resource, KeyRef { namespace, name, key: _ }) = match bundle {
            BundleRef::ConfigMap(key) => ("configmaps", key),
            BundleRef::Secret(key) => ("secrets", key),
            BundleRef::File(_) => continue,
        };
        let names = namespaces.entry(namespace).or_default().entry(resource).or_default();
        // They are sorted; several keys of an object are one name.
        if names.last() != Some(&name.as_str()) {
            names.push(name);
        }
    }
    namespaces.into_iter().map(move |(namespace, rules)| Role {
        name: BUNDLES,
        within: Some(namespace),
        why: "The CA bundles that the policy names in this namespace: these objects and no others, of Secrets only the certificates\n\
              # are kept. Printed by `mirrorgate rbac`.",
        rules: rules.into_iter().map(|(resource, names)| Rule { resource, names }).collect(),
        account,
    })
}

/// A ClusterRole, or a Role within a namespace, and its binding to our service account.
pub(super) struct Role<'p> {
    pub(super) name: &'static str,
    pub(super) within: Option<&'p str>,
    why: &'static str,
    pub(super) rules: Vec<Rule<'p>>,
    /// The namespace of the service account.
    account: &'p str,
}

/// What may be listed and watched.
pub(super) struct Rule<'p> {
    pub(super) resource: &'static str,
    /// None: all of the resource.
    pub(super) names: Vec<&'p str>,
}

impl Role<'_> {
    fn kind(&self) -> &'static str {
        if self.within.is_some() { "Role" } else { "ClusterRole" }
    }

    fn objects(&self) -> [Value; 2] {
        let mut metadata = json!({"name": self.name, "labels": {"app.kubernetes.io/name": SERVICE_ACCOUNT}});
        if let Some(namespace) = self.within {
            metadata["namespace"] = json!(namespace);
        }
        let rule = |Rule { resource, names }: &Rule<'_>| {
            let mut rule = json!({"apiGroups": [""], "resources": [resource], "verbs": VERBS});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        };
        let kind = self.kind();
        [
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
                "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.name},
                "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": self.account}],
            }),
        ]
    }
}

/// As YAML that a person reads. Names that somebody chose are quoted: `123` and `on` are such names.
impl fmt::Display for Role<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, within, why, rules, account } = self;
        let kind = self.kind();
        let mut metadata = format!("metadata:\n  name: {name}\n");
        if let Some(namespace) = within {
            metadata += &format!("  namespace: \"{namespace}\"\n");
        }
        metadata += &format!("  labels: {{app.kubernetes.io/name: {SERVICE_ACCOUNT}}}\n");
        write!(f, "# {why}\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}rules:\n")?;
        for Rule { resource, names } in rules {
            write!(f, "- apiGroups: [\"\"]\n  resources: [{resource}]\n")?;
            if !names.is_empty() {
                writeln!(f, "  resourceNames:")?;
            }
            for name in names {
                writeln!(f, "  - \"{name}\"")?;
            }
            writeln!(f, "  verbs: [{}]", VERBS.join(", "))?;
        }
        write!(f, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n{metadata}")?;
        write!(f, "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {name}\n")?;
        write!(f, "subjects:\n- kind: ServiceAccount\n  name: {SERVICE_ACCOUNT}\n  namespace: {account}\n")
    }
}
