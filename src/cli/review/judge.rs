//! One object before the core: the same `plan` and `decide` that the server runs.

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::image::Registry;
use crate::policy::Policy;
use crate::review::{
    Cause, CauseReason, Change, Decision, Mode, Outcome, Plan, Pod, PullSecretPlan, SecretState, SecretUse,
    UnknownClass, Verdicts, decide, plan, route,
};
use crate::server::wire;

use super::manifest::{Body, Object};
use super::secrets::Secrets;

/// What becomes of one object.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// RFC 6902 operations on the object; for a review on the pod in it.
    pub(super) patch: Vec<Json>,
    pub(super) warnings: Vec<String>,
    /// What stands against it, in audit mode too.
    pub(super) causes: Vec<FieldCause>,
    pub(super) images: Vec<Image>,
    pub(super) pull_secrets: Vec<PullSecretUse>,
    /// What is known of the registries that must be trusted.
    pub(super) verdicts: Vec<RegistryVerdict>,
    /// Of each registry that the object is denied for: its certificate, and what mends it.
    pub(super) details: Vec<String>,
    /// The pull secrets that it gets, or in audit mode would get.
    pub(super) added: Vec<String>,
    /// The whole answer to a document of kind AdmissionReview.
    pub(super) answer: Option<Json>,
}

/// A [`Cause`] with its path from the object's root.
#[derive(Serialize)]
pub(super) struct FieldCause {
    pub(super) field: String,
    pub(super) reason: CauseReason,
    pub(super) message: String,
}

/// One image that the pod names.
#[derive(Serialize)]
pub(super) struct Image {
    pub(super) field: String,
    pub(super) input: String,
    /// As the pod would carry it; nothing where no reference can be made or read.
    pub(super) rewritten: Option<String>,
    pub(super) mirror: Option<String>,
}

impl Image {
    pub(super) fn changes(&self) -> bool {
        self.rewritten.as_ref().is_some_and(|rewritten| *rewritten != self.input)
    }
}

/// What one pull secret is for the images of one registry.
#[derive(Serialize)]
pub(super) struct PullSecretUse {
    pub(super) name: String,
    pub(super) registry: String,
    #[serde(serialize_with = "word")]
    pub(super) state: SecretState,
    /// The fields of the images.
    pub(super) images: Vec<String>,
}

/// What is known of one registry that must be trusted.
#[derive(Serialize)]
pub(super) struct RegistryVerdict {
    pub(super) registry: String,
    pub(super) verdict: &'static str,
    pub(super) class: &'static str,
    pub(super) message: String,
    /// What mends it that it is untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// The fields of the images that are pulled from it.
    pub(super) images: Vec<String>,
}

impl RegistryVerdict {
    pub(super) fn is_not_asked(&self) -> bool {
        self.class == UnknownClass::NotAsked.as_str()
    }
}

fn word<S: Serializer>(state: &SecretState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

/// Decides as for a `CREATE` of the pod, or of the pods that a template makes.
///
/// # Errors
/// What is not of the shape of a pod or a review, in words.
pub(super) fn judge(
    policy: &Policy,
    mode: Mode,
    namespace: &str,
    secrets: &Secrets,
    verdicts: &Verdicts,
    object: &Object<'_>,
) -> Result<Verdict, String> {
    if let Body::AdmissionReview = object.body {
        return answer(policy, mode, namespace, secrets, verdicts, object);
    }
    let Some(json) = pod_json(object) else {
        return Ok(Verdict { allowed: true, ..Verdict::default() });
    };
    let pod = Pod::parse(&json).map_err(|fault| format!("{}not a pod: {}", object.field_prefix(), fault.reason()))?;
    if pod.is_mirror_pod() {
        return Ok(Verdict { allowed: true, ..Verdict::default() });
    }
    let mut routed = route(policy, &pod, Change::Create);
    routed.settle(verdicts);
    let known = secrets.namespace(namespace);
    let mut plan = plan(policy, routed, verdicts, namespace, &known, &pod, Change::Create);
    if let Some(doubt) = plan.pull_secrets.in_doubt() {
        let looked = secrets.look_again(namespace, &doubt);
        plan.plan_pull_secrets(policy, namespace, &looked, &pod, Change::Create);
    }
    let decision = decide(mode, &pod, Change::Create, &plan);
    let mut patch = operations(&decision)?;
    if let Body::Template { .. } = object.body {
        // The annotation tells of a pod; a template has no webhook.
        patch.retain(|operation| operation["path"].as_str().is_some_and(|path| path.starts_with("/spec/")));
        for operation in &mut patch {
            let path = format!("{}{}", object.pod_pointer(), operation["path"].as_str().unwrap_or_default());
            operation["path"] = path.into();
        }
    }
    Ok(verdict(&object.field_prefix(), &plan, decision, patch))
}

/// The registries of an object on which a verdict is missing, as far as is known from those that are there. None of what is no
/// pod: that is a fault when it is judged.
pub(super) fn unasked(policy: &Policy, verdicts: &Verdicts, object: &Object<'_>) -> Vec<Registry> {
    if let Body::AdmissionReview = object.body {
        let body = object.node.to_json().to_string();
        let Ok(request) = wire::Request::parse(&body) else { return Vec::new() };
        return request.route(policy).map_or_else(Vec::new, |mut routed| routed.settle(verdicts).into_vec());
    }
    let Some(json) = pod_json(object) else { return Vec::new() };
    match Pod::parse(&json) {
        Ok(pod) if !pod.is_mirror_pod() => route(policy, &pod, Change::Create).settle(verdicts).into_vec(),
        _ => Vec::new(),
    }
}

/// The pod, or the one that a template makes.
fn pod_json(object: &Object<'_>) -> Option<String> {
    let mut json = object.pod().filter(|pod| !pod.is_null())?.to_json();
    if let Body::Template { owner, .. } = object.body {
        set_owner(&mut json, owner);
    }
    Some(json.to_string())
}

/// What a controller puts on its pods, since `ignore.ownerKinds` asks for it (M10).
fn set_owner(template: &mut Json, owner: Option<(&str, &str)>) {
    let (Some(template), Some((api_version, kind))) = (template.as_object_mut(), owner) else { return };
    let metadata = template.entry("metadata").or_insert(Json::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("ownerReferences".to_owned(), json!([{"apiVersion": api_version, "kind": kind}]));
    }
}

fn answer(
    policy: &Policy,
    mode: Mode,
    namespace: &str,
    secrets: &Secrets,
    verdicts: &Verdicts,
    object: &Object<'_>,
) -> Result<Verdict, String> {
    let body = object.node.to_json().to_string();
    let request = wire::Request::parse(&body).map_err(|error| error.to_string())?;
    let mut routed = request.route(policy);
    if let Some(routed) = &mut routed {
        routed.settle(verdicts);
    }
    let mut plan = request.plan(policy, routed, verdicts, &secrets.namespace(namespace));
    if let Some(doubt) = plan.pull_secrets.in_doubt() {
        request.plan_pull_secrets(policy, &mut plan, &secrets.look_again(namespace, &doubt));
    }
    let decision = request.decide(mode, &plan);
    let answer = wire::answer(&request.uid, &decision);
    let answer = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let patch = operations(&decision)?;
    Ok(Verdict { answer: Some(answer), ..verdict("", &plan, decision, patch) })
}

fn verdict(prefix: &str, plan: &Plan<'_, '_>, decision: Decision, patch: Vec<Json>) -> Verdict {
    let images = plan.images.iter().map(|planned| {
        let (rewritten, mirror) = match &planned.outcome {
            Outcome::Rewritten { to, mirror, .. } => (Some(to.to_string()), Some(mirror.name().to_owned())),
            Outcome::Kept(_) => (Some(planned.image.to_owned()), None),
            Outcome::Unreadable(_) => (None, None),
            Outcome::Unmirrorable { mirror, .. } => (None, Some(mirror.name().to_owned())),
        };
        Image { field: format!("{prefix}{}", planned.field), input: planned.image.to_owned(), rewritten, mirror }
    });
    let causes = decision.causes.into_iter().map(|Cause { field, reason, message }| FieldCause {
        field: format!("{prefix}{field}"),
        reason,
        message,
    });
    let PullSecretPlan { uses, added, .. } = &plan.pull_secrets;
    let field = |image: &usize| Some(format!("{prefix}{}", plan.images.get(*image)?.field));
    let pull_secrets = uses.iter().map(|SecretUse { name, registry, state, images }| PullSecretUse {
        name: name.clone().into_owned(),
        registry: registry.to_string(),
        state: *state,
        images: images.iter().filter_map(field).collect(),
    });
    let verdicts = plan.trust.registries.iter().map(|checked| RegistryVerdict {
        registry: checked.registry.to_string(),
        verdict: checked.verdict.as_str(),
        class: checked.verdict.class(),
        message: checked.to_string(),
        fix: None,
        images: checked.images.iter().filter_map(field).collect(),
    });
    Verdict {
        verdicts: verdicts.collect(),
        details: decision.details,
        allowed: decision.allowed,
        patch,
        warnings: decision.warnings,
        causes: causes.collect(),
        images: images.collect(),
        pull_secrets: pull_secrets.collect(),
        added: added.iter().map(|name| name.clone().into_owned()).collect(),
        answer: None,
    }
}

fn operations(decision: &Decision) -> Result<Vec<Json>, String> {
    serde_json::from_str(decision.patch.as_json()).map_err(|error| error.to_string())
}
