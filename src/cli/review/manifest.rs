//! Finds the pods and the pod templates in what a manifest holds.

use crate::yaml::{Node, Value};

/// Something in a manifest that the webhook has to do with.
pub(super) struct Object<'d> {
    /// Which document of the source, from 0.
    pub(super) document: usize,
    /// JSON pointer into the document; empty unless the object is in a List.
    pub(super) pointer: String,
    pub(super) node: &'d Node,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) body: Body,
}

/// Where the pod is in an object.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// It is the object.
    Pod,
    /// Under this path; the controller that the pods will belong to, as `apiVersion` and `kind`.
    Template { path: &'static [&'static str], owner: Option<(&'static str, &'static str)> },
    /// In a review that the API server would send.
    AdmissionReview,
}

/// How deep Lists may be in Lists.
const MOST_LISTS: usize = 8;

/// All objects of the documents with a pod in them, in order. Other kinds, and what is no object, are none of our
/// business.
pub(super) fn objects(documents: &[Node]) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    each(documents, |Item { document, pointer, node, api_version, kind }| {
        if let Some(body) = body(api_version, kind) {
            let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
            found.push(Object { document, pointer, node, api_version, kind, body });
        }
    });
    found
}

/// The objects among the documents that are of this kind of the core group.
pub(in crate::cli) fn of_core<'d>(documents: &'d [Node], kind: &str) -> Vec<&'d Node> {
    let mut found = Vec::new();
    each(documents, |item| found.extend(item.is_core(kind).then_some(item.node)));
    found
}

/// The opt-in label of the namespaces among the documents: name and value.
pub(super) fn namespace_modes(documents: &[Node]) -> Vec<(String, String)> {
    let label = |node: &Node| {
        let metadata = node.field("metadata")?;
        let mode = metadata.field("labels")?.field("mirrorgate.dev/mode")?.as_str()?;
        Some((metadata.field("name")?.as_str()?.to_owned(), mode.to_owned()))
    };
    let mut found = Vec::new();
    each(documents, |item| {
        if item.is_core("Namespace") {
            found.extend(label(item.node));
        }
    });
    found
}

/// An object of any kind.
struct Item<'d> {
    document: usize,
    pointer: String,
    node: &'d Node,
    api_version: &'d str,
    kind: &'d str,
}

impl Item<'_> {
    /// Whether it is of this kind of the core group.
    fn is_core(&self, kind: &str) -> bool {
        group(self.api_version).is_empty() && self.kind == kind
    }
}

/// Visits the objects of the documents in order, those in Lists too, but not the Lists.
fn each<'d>(documents: &'d [Node], mut visit: impl FnMut(Item<'d>)) {
    for (document, node) in documents.iter().enumerate() {
        descend(document, String::new(), node, ("", ""), 0, &mut visit);
    }
}

fn descend<'d>(
    document: usize,
    pointer: String,
    node: &'d Node,
    of_list: (&'d str, &'d str),
    depth: usize,
    visit: &mut impl FnMut(Item<'d>),
) {
    let text = |key| node.field(key).and_then(Node::as_str);
    // The items of a typed list from the API server do not say what they are.
    let (api_version, kind) = (text("apiVersion").unwrap_or(of_list.0), text("kind").unwrap_or(of_list.1));
    if let Some(item_kind) = kind.strip_suffix("List")
        && let Some(items) = node.field("items")
        && depth < MOST_LISTS
    {
        for (index, item) in items.items().iter().enumerate() {
            let pointer = format!("{pointer}/items/{index}");
            descend(document, pointer, item, (api_version, item_kind), depth + 1, visit);
        }
    } else {
        visit(Item { document, pointer, node, api_version, kind });
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn body(api_version: &str, kind: &str) -> Option<Body> {
    const TEMPLATE: &[&str] = &["spec", "template"];
    let (path, owner) = match (group(api_version), kind) {
        ("", "Pod") => return Some(Body::Pod),
        ("admission.k8s.io", "AdmissionReview") => return Some(Body::AdmissionReview),
        ("apps" | "extensions", "Deployment" | "ReplicaSet") => (TEMPLATE, Some(("apps/v1", "ReplicaSet"))),
        ("apps", "StatefulSet") => (TEMPLATE, Some(("apps/v1", "StatefulSet"))),
        ("apps" | "extensions", "DaemonSet") => (TEMPLATE, Some(("apps/v1", "DaemonSet"))),
        ("", "ReplicationController") => (TEMPLATE, Some(("v1", "ReplicationController"))),
        ("batch", "Job") => (TEMPLATE, Some(("batch/v1", "Job"))),
        ("batch", "CronJob") => (&["spec", "jobTemplate", "spec", "template"][..], Some(("batch/v1", "Job"))),
        ("", "PodTemplate") => (&["template"][..], None),
        _ => return None,
    };
    Some(Body::Template { path, owner })
}

impl Object<'_> {
    /// `metadata.name`, or the `generateName` where there is none.
    pub(super) fn name(&self) -> &str {
        let object = match self.body {
            Body::AdmissionReview => at(self.node, "/request/object"),
            Body::Pod | Body::Template { .. } => Some(self.node),
        };
        let metadata = object.and_then(|object| object.field("metadata"));
        let text = |key| metadata.and_then(|metadata| metadata.field(key)).and_then(Node::as_str);
        text("name").or_else(|| text("generateName")).unwrap_or("")
    }

    /// `metadata.namespace`; for a review the request's, which counts (U5).
    pub(super) fn namespace(&self) -> Option<&str> {
        let pointer = match self.body {
            Body::AdmissionReview => "/request/namespace",
            Body::Pod | Body::Template { .. } => "/metadata/namespace",
        };
        at(self.node, pointer)?.as_str()
    }

    /// The pod, or the template that pods are made from; nothing where a template is missing.
    pub(super) fn pod(&self) -> Option<&Node> {
        match self.body {
            Body::Pod | Body::AdmissionReview => Some(self.node),
            Body::Template { path, .. } => path.iter().try_fold(self.node, |node, key| node.field(key)),
        }
    }

    /// What stands before a field of the pod in a path as Kubernetes writes it: `spec.template.`.
    pub(super) fn field_prefix(&self) -> String {
        self.path().iter().map(|key| format!("{key}.")).collect()
    }

    /// JSON pointer of the pod in the object.
    pub(super) fn pod_pointer(&self) -> String {
        self.path().iter().map(|key| format!("/{key}")).collect()
    }

    fn path(&self) -> &'static [&'static str] {
        match self.body {
            Body::Template { path, .. } => path,
            Body::Pod | Body::AdmissionReview => &[],
        }
    }
}

/// The node under a JSON pointer.
pub(super) fn at<'n>(node: &'n Node, pointer: &str) -> Option<&'n Node> {
    pointer.split('/').skip(1).try_fold(node, |node, part| match &node.value {
        Value::Sequence(items) => items.get(part.parse::<usize>().ok()?),
        Value::Mapping(_) => node.field(&part.replace("~1", "/").replace("~0", "~")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Limits, parse_documents};

    fn found(source: &str) -> Vec<String> {
        let documents = parse_documents(source, Limits::MANIFEST).unwrap();
        let line = |object: &Object<'_>| {
            format!("{}{} {} {}", object.document, object.pointer, object.kind, object.field_prefix())
        };
        objects(&documents).iter().map(line).collect()
    }

    #[test]
    fn every_kind_with_a_pod_is_found_and_no_other() {
        for (api_version, kind, prefix) in [
            ("v1", "Pod", ""),
            ("apps/v1", "Deployment", "spec.template."),
            ("apps/v1", "ReplicaSet", "spec.template."),
            ("apps/v1", "StatefulSet", "spec.template."),
            ("apps/v1", "DaemonSet", "spec.template."),
            ("v1", "ReplicationController", "spec.template."),
            ("batch/v1", "Job", "spec.template."),
            ("batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template."),
            ("v1", "PodTemplate", "template."),
        ] {
            let source = format!("apiVersion: {api_version}\nkind: {kind}\n");
            assert_eq!(found(&source), [format!("0 {kind} {prefix}")], "{kind}");
        }
        for source in [
            "apiVersion: v1\nkind: Service\n",
            "apiVersion: other.example/v1\nkind: Deployment\n",
            "apiVersion: other.example/v1\nkind: Pod\n",
            "kind: [Pod]\n",
            "- a list\n",
            "text\n",
            "",
        ] {
            assert_eq!(found(source), [""; 0], "{source:?}");
        }
    }

    #[test]
    fn the_items_of_lists_are_found_wherever_they_are() {
        let source = "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n\
                      - {apiVersion: v1, kind: Service}\n- {apiVersion: apps/v1, kind: DeploymentList, items: [{}, {}]}\n---\n\
                      apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: a}}]\n";
        assert_eq!(
            found(source),
            [
                "1/items/0 Pod ",
                "1/items/2/items/0 Deployment spec.template.",
                "1/items/2/items/1 Deployment spec.template.",
                "2/items/0 Pod "
            ]
        );
    }
}
