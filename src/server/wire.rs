//! `AdmissionReview` of `admission.k8s.io/v1`, in and out (A2, A7).
//!
//! The request is borrowed from the body, and only the fields that matter are read: a review carries the whole pod twice,
//! and most of it is skipped. What is decided is not here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::image::Escaped;
use crate::json::{Fault, Reader, Text, Writer};
use crate::policy::Policy;
use crate::review::{Cause, Change, Decision, Mode, Plan, Pod, PullSecrets, Routed, Verdicts, decide, plan, route};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The most characters of a parser's own words in an answer.
const MOST_DETAIL_CHARS: usize = 300;

/// Why a body is no review that can be answered; the `message` of a 400.
#[derive(Debug, thiserror::Error)]
pub enum BadReview {
    /// Not JSON, or of another shape.
    #[error("the body is not an AdmissionReview of {API_VERSION}: {0}")]
    Shape(String),
    /// JSON, of another kind or version.
    #[error("the body is {0}, and must be an AdmissionReview of {API_VERSION}")]
    OtherKind(String),
    /// An AdmissionReview without `request`.
    #[error("the AdmissionReview has no `request`")]
    NoRequest,
    /// A request without `uid`: the answer could not carry it.
    #[error("the request has no `uid`")]
    NoUid,
    /// The object or old object has not the shape of its kind.
    #[error("request.{field} is not a {kind}: {detail}")]
    Object {
        /// `object` or `oldObject`.
        field: &'static str,
        /// `pod`, for one.
        kind: &'static str,
        /// The parser's words.
        detail: String,
    },
}

#[derive(Default)]
struct RawRequest<'a> {
    uid: Option<Text<'a>>,
    resource: Resource<'a>,
    sub_resource: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    operation: Option<Text<'a>>,
    object: RawPod<'a>,
    old_object: RawPod<'a>,
    dry_run: Option<bool>,
}

/// An object, which is a pod if the rest of the request says so.
#[derive(Default)]
enum RawPod<'a> {
    #[default]
    Absent,
    /// Nothing before it said what it is: only passed by.
    Json(&'a str),
    /// What came before said that it is a pod, as the API server does: it writes resource and operation first.
    Read(Result<Box<Pod<'a>>, Fault>),
}

/// What a request is about.
#[derive(Default)]
pub(super) struct Resource<'a> {
    group: Option<Text<'a>>,
    version: Option<Text<'a>>,
    resource: Option<Text<'a>>,
}

impl<'a> RawRequest<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|request: &mut Self, json, key| {
            match key {
                "uid" => request.uid = json.optional(Reader::string)?,
                "resource" => request.resource = json.optional(Resource::read)?.unwrap_or_default(),
                "subResource" => request.sub_resource = json.optional(Reader::string)?,
                "namespace" => request.namespace = json.optional(Reader::string)?,
                "operation" => request.operation = json.optional(Reader::string)?,
                "object" => request.object = request.pod(json)?,
                "oldObject" => request.old_object = request.pod(json)?,
                "dryRun" => request.dry_run = json.optional(Reader::bool)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn pod(&self, json: &mut Reader<'a>) -> Result<RawPod<'a>, Fault> {
        let is_pod = !matches!(self.operation(), Operation::Other(_));
        let object = json.optional(|json| {
            let start = json.clone();
            Ok(match is_pod.then(|| Pod::read(json)) {
                Some(Ok(pod)) => RawPod::Read(Ok(Box::new(pod))),
                // What follows may say that it is no pod after all.
                Some(Err(fault)) => {
                    *json = start;
                    json.skip()?;
                    RawPod::Read(Err(fault))
                }
                None => RawPod::Json(json.raw()?),
            })
        })?;
        Ok(object.unwrap_or_default())
    }

    fn operation(&self) -> Operation {
        Operation::new(
            &self.resource,
            self.sub_resource.as_deref().unwrap_or_default(),
            self.operation.as_deref().unwrap_or_default(),
        )
    }
}

impl<'a> Resource<'a> {
    pub(super) fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|resource: &mut Self, json, key| {
            match key {
                "group" => resource.group = json.optional(Reader::string)?,
                "version" => resource.version = json.optional(Reader::string)?,
                "resource" => resource.resource = json.optional(Reader::string)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl Resource<'_> {
    /// Whether it is this one of the core group, v1.
    pub(super) fn is_core_v1(&self, name: &str) -> bool {
        let part = |text: &Option<Text<'_>>, expected: &str| text.as_deref().unwrap_or_default() == expected;
        part(&self.group, "") && part(&self.version, "v1") && part(&self.resource, name)
    }
}

/// One review, ready to be decided.
#[derive(Debug)]
pub struct Request<'a> {
    /// Goes into the answer as it came.
    pub uid: Text<'a>,
    /// The pod's namespace, as the API server knows it (U5).
    pub namespace: Text<'a>,
    /// What is done to what.
    pub operation: Operation,
    /// Whether nothing will be stored; it decides nothing (U6).
    pub dry_run: bool,
    /// The pod as it would be stored; empty where there is none.
    pub pod: Pod<'a>,
    /// The pod as it is stored; empty where there is none.
    pub old_pod: Pod<'a>,
}

/// What a request does, as far as it is our business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE pods`
    Create,
    /// `UPDATE pods`
    Update,
    /// `UPDATE pods/ephemeralcontainers`
    UpdateEphemeralContainers,
    /// `DELETE` or `CONNECT`, another subresource or resource (U4).
    Other(&'static str),
}

impl Operation {
    fn new(resource: &Resource<'_>, sub_resource: &str, operation: &str) -> Self {
        match (resource.is_core_v1("pods"), operation, sub_resource) {
            (true, "CREATE", "") => Self::Create,
            (true, "UPDATE", "") => Self::Update,
            (true, "UPDATE", "ephemeralcontainers") => Self::UpdateEphemeralContainers,
            (_, "CREATE", _) => Self::Other("CREATE"),
            (_, "UPDATE", _) => Self::Other("UPDATE"),
            (_, "DELETE", _) => Self::Other("DELETE"),
            (_, "CONNECT", _) => Self::Other("CONNECT"),
            _ => Self::Other("OTHER"),
        }
    }

    /// The word in logs and metrics: the API server's own, from a bounded set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update | Self::UpdateEphemeralContainers => "UPDATE",
            Self::Other(word) => word,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// What is no review that can be answered, among it a pod of the wrong shape, which no API server sends.
    pub fn parse(body: &'a str) -> Result<Self, BadReview> {
        Self::new(envelope(body, RawRequest::read)?)
    }

    fn new(request: RawRequest<'a>) -> Result<Self, BadReview> {
        let operation = request.operation();
        let RawRequest { uid, namespace, object, old_object, dry_run, resource: _, sub_resource: _, operation: _ } =
            request;
        let uid = uid.filter(|uid| !uid.is_empty()).ok_or(BadReview::NoUid)?;
        let ours = !matches!(operation, Operation::Other(_));
        let pod = |field, raw| {
            let read = match raw {
                _ if !ours => return Ok(Pod::default()),
                RawPod::Absent => return Ok(Pod::default()),
                RawPod::Read(read) => read.map(|pod| *pod),
                RawPod::Json(json) => Pod::parse(json),
            };
            read.map_err(|fault| BadReview::Object { field, kind: "pod", detail: words(&fault.reason()) })
        };
        Ok(Self {
            uid,
            namespace: namespace.unwrap_or_default(),
            operation,
            dry_run: dry_run.unwrap_or_default(),
            pod: pod("object", object)?,
            old_pod: pod("oldObject", old_object)?,
        })
    }

    /// What of the pod may be changed; nothing where it is none of our business (U1 to U4).
    ///
    /// Whether a pod is being deleted is asked of the stored pod: in a new one an author can write what he likes.
    pub fn change(&self) -> Option<Change<'_>> {
        let old = &self.old_pod;
        match self.operation {
            Operation::Other(_) => None,
            Operation::Create if self.pod.is_mirror_pod() => None,
            Operation::Create => Some(Change::Create),
            _ if old.is_being_deleted() || old.is_mirror_pod() => None,
            Operation::Update => Some(Change::Update { old }),
            Operation::UpdateEphemeralContainers => Some(Change::EphemeralContainers { old }),
        }
    }

    /// Routes the images that this review may change; nothing where it is none of our business.
    pub fn route<'p>(&'a self, policy: &'p Policy) -> Option<Routed<'p, 'a>> {
        self.change().map(|change| route(policy, &self.pod, change))
    }

    /// Plans for images that were settled. `secrets` are those of the pod's namespace.
    pub fn plan<'p>(
        &'a self,
        policy: &'p Policy,
        routed: Option<Routed<'p, 'a>>,
        verdicts: &Verdicts,
        secrets: &PullSecrets,
    ) -> Plan<'p, 'a> {
        match (self.change(), routed) {
            (Some(change), Some(routed)) => plan(policy, routed, verdicts, &self.namespace, secrets, &self.pod, change),
            _ => Plan::default(),
        }
    }

    /// Plans the pull secrets anew, by what is known of them now.
    pub fn plan_pull_secrets<'p>(&self, policy: &'p Policy, plan: &mut Plan<'p, '_>, secrets: &PullSecrets) {
        if let Some(change) = self.change() {
            plan.plan_pull_secrets(policy, &self.namespace, secrets, &self.pod, change);
        }
    }

    /// Decides this review by its plan.
    pub fn decide(&self, mode: Mode, plan: &Plan<'_, '_>) -> Decision {
        self.change().map_or_else(Decision::pass, |change| decide(mode, &self.pod, change, plan))
    }
}

/// Reads a whole review, and `request` of it as `read` does.
pub(super) fn envelope<'a, R>(
    body: &'a str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<R, Fault>,
) -> Result<R, BadReview> {
    let mut json = Reader::new(body);
    let (mut api_version, mut kind, mut request) = (None, None, None);
    let object = json.object(|json, key| {
        match key {
            "apiVersion" => api_version = json.optional(Reader::string)?,
            "kind" => kind = json.optional(Reader::string)?,
            "request" => request = json.optional(&mut read)?,
            _ => json.skip()?,
        }
        Ok(())
    });
    object.and_then(|()| json.end()).map_err(|fault| BadReview::Shape(words(&fault)))?;
    let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
    if &*api_version != API_VERSION || &*kind != KIND {
        let what = format!("apiVersion {:?}, kind {:?}", &*api_version, &*kind);
        return Err(BadReview::OtherKind(Escaped::cut(&what, MOST_DETAIL_CHARS).to_string()));
    }
    request.ok_or(BadReview::NoRequest)
}

/// What is wrong, in the words of the reader.
pub(super) fn words(fault: &impl std::fmt::Display) -> String {
    Escaped::cut(&fault.to_string(), MOST_DETAIL_CHARS).to_string()
}

/// The body of the answer: HTTP 200 for a denial, too (A1).
pub fn answer(uid: &str, decision: &Decision) -> String {
    let Decision { allowed, patch, warnings, causes, audit_annotations, .. } = decision;
    let said: usize = audit_annotations.iter().map(|(_, value)| value.len()).sum();
    // Room for all of it at once: a buffer that grows copies what it holds. Base64 takes four bytes for three, and the
    // quotes of JSON within JSON are escaped.
    let mut json = Writer::with_capacity(512 + patch.as_json().len() * 4 / 3 + said * 3 / 2);
    begin(&mut json, uid, *allowed);
    if !allowed {
        denial(&mut json, &decision.message(), causes, |json, Cause { field, reason, message }| {
            cause(json, reason.as_str(), message, field);
        });
    }
    if !patch.is_empty() {
        json.raw(r#","patchType":"JSONPatch","patch":""#);
        json.append(|out| STANDARD.encode_string(patch.as_json(), out)).raw("\"");
    }
    self::warnings(&mut json, warnings);
    if !audit_annotations.is_empty() {
        json.raw(r#","auditAnnotations":"#).list("{}", audit_annotations, |json, (key, value)| {
            json.string(key).raw(":").string(value);
        });
    }
    json.raw("}}");
    json.into_string()
}

/// An answer up to whether it allows. Its end is `}}`.
pub(super) fn begin(json: &mut Writer, uid: &str, allowed: bool) {
    json.raw(r#"{"apiVersion":""#).raw(API_VERSION).raw(r#"","kind":""#).raw(KIND);
    json.raw(r#"","response":{"uid":"#).string(uid);
    json.raw(if allowed { r#","allowed":true"# } else { r#","allowed":false"# });
}

/// The `metav1.Status` of a denial (A1).
pub(super) fn denial<C>(
    json: &mut Writer,
    message: &str,
    causes: impl IntoIterator<Item = C>,
    write: impl FnMut(&mut Writer, C),
) {
    json.raw(r#","status":{"status":"Failure","message":"#).string(message);
    json.raw(r#","reason":"Forbidden","code":403,"details":{"causes":"#);
    json.list("[]", causes, write);
    json.raw("}}");
}

/// One fault of a denial. `reason` needs no escapes.
pub(super) fn cause(json: &mut Writer, reason: &str, message: &str, field: &str) {
    json.raw(r#"{"reason":"#).plain(reason).raw(r#","message":"#).string(message);
    json.raw(r#","field":"#).string(field).raw("}");
}

/// What the API server shows to the client (A6).
pub(super) fn warnings(json: &mut Writer, warnings: &[String]) {
    if !warnings.is_empty() {
        json.raw(r#","warnings":"#).list("[]", warnings, |json, warning| {
            json.string(warning);
        });
    }
}
