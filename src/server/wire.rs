//! `AdmissionReview` of `admission.k8s.io/v1`, in and out (A2, A7).
//!
//! The request is borrowed from the body, and only the fields that matter are read: a review carries the whole pod twice,
//! and most of it is skipped. What is decided is not here.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::image::Escaped;
use crate::policy::Policy;
use crate::review::{Cause, CauseReason, Change, Decision, Mode, Object, Plan, Pod, Text, decide, plan};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The most characters of a parser's own words in an answer.
const MOST_DETAIL_CHARS: usize = 300;

/// Why a body is no review that can be answered; the `message` of a 400.
#[derive(Debug, thiserror::Error)]
pub enum BadReview {
    /// Not UTF-8, not JSON, or of another shape.
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
    /// The object or old object has not the shape of a pod.
    #[error("request.{field} is not a pod: {detail}")]
    Pod {
        /// `object` or `oldObject`.
        field: &'static str,
        /// The parser's words.
        detail: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Review<'a, const DIRECT: bool> {
    #[serde(borrow, default)]
    api_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    request: Option<RawRequest<'a, DIRECT>>,
}

/// The request as it is read, key by key.
///
/// With `DIRECT` the objects are read as pods in the same pass, as soon as what came before says that they are: the API
/// server writes resource and operation first. Without it they are only skipped over, and read once all is known; that
/// is for bodies in another order, and for the ones at fault, whose fault it names.
#[derive(Default)]
struct RawRequest<'a, const DIRECT: bool> {
    uid: Option<Text<'a>>,
    resource: Option<Object<Resource<'a>>>,
    sub_resource: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    operation: Option<Text<'a>>,
    object: RawPod<'a>,
    old_object: RawPod<'a>,
    dry_run: Option<bool>,
}

#[derive(Default)]
#[expect(clippy::large_enum_variant, reason = "two of them live on the stack, for one review")]
enum RawPod<'a> {
    #[default]
    Absent,
    Json(&'a RawValue),
    Pod(Pod<'a>),
}

impl<const DIRECT: bool> RawRequest<'_, DIRECT> {
    fn operation(&self) -> Operation {
        let none = Resource::default();
        Operation::new(
            self.resource.as_deref().unwrap_or(&none),
            self.sub_resource.as_deref().unwrap_or_default(),
            self.operation.as_deref().unwrap_or_default(),
        )
    }
}

impl<'de: 'a, 'a, const DIRECT: bool> Deserialize<'de> for RawRequest<'a, DIRECT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RequestVisitor<const DIRECT: bool>;

        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Key {
            Uid,
            Resource,
            SubResource,
            Namespace,
            Operation,
            Object,
            OldObject,
            DryRun,
            #[serde(other)]
            Other,
        }

        impl<'de, const DIRECT: bool> Visitor<'de> for RequestVisitor<DIRECT> {
            type Value = RawRequest<'de, DIRECT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AdmissionRequest")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut request = RawRequest::<'de, DIRECT>::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Uid => request.uid = map.next_value()?,
                        Key::Resource => request.resource = map.next_value()?,
                        Key::SubResource => request.sub_resource = map.next_value()?,
                        Key::Namespace => request.namespace = map.next_value()?,
                        Key::Operation => request.operation = map.next_value()?,
                        Key::Object => request.object = raw_pod(&request, &mut map)?,
                        Key::OldObject => request.old_object = raw_pod(&request, &mut map)?,
                        Key::DryRun => request.dry_run = map.next_value()?,
                        Key::Other => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(request)
            }
        }

        fn raw_pod<'de, A: MapAccess<'de>, const DIRECT: bool>(
            request: &RawRequest<'de, DIRECT>,
            map: &mut A,
        ) -> Result<RawPod<'de>, A::Error> {
            let so_far = request.operation();
            Ok(if DIRECT && !matches!(so_far, Operation::Other(_)) {
                let pod: Option<Object<Pod<'de>>> = map.next_value()?;
                pod.map_or(RawPod::Absent, |Object(pod)| RawPod::Pod(pod))
            } else {
                map.next_value::<Option<&'de RawValue>>()?.map_or(RawPod::Absent, RawPod::Json)
            })
        }

        deserializer.deserialize_map(RequestVisitor::<DIRECT>)
    }
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    group: Option<Text<'a>>,
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource: Option<Text<'a>>,
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
        let part = |text: &Option<Text<'_>>, expected: &str| text.as_deref().unwrap_or_default() == expected;
        let is_pod = part(&resource.group, "") && part(&resource.version, "v1") && part(&resource.resource, "pods");
        match (is_pod, operation, sub_resource) {
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
    pub fn parse(body: &'a [u8]) -> Result<Self, BadReview> {
        let text = std::str::from_utf8(body).map_err(|error| BadReview::Shape(error.to_string()))?;
        match serde_json::from_str::<Object<Review<'a, true>>>(text) {
            Ok(Object(review)) => Self::new(review),
            Err(_) => match serde_json::from_str::<Object<Review<'a, false>>>(text) {
                Ok(Object(review)) => Self::new(review),
                Err(error) => Err(BadReview::Shape(words(&error))),
            },
        }
    }

    fn new<const DIRECT: bool>(review: Review<'a, DIRECT>) -> Result<Self, BadReview> {
        let Review { api_version, kind, request } = review;
        let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
        if &*api_version != API_VERSION || &*kind != KIND {
            let what = format!("apiVersion {:?}, kind {:?}", &*api_version, &*kind);
            return Err(BadReview::OtherKind(Escaped::cut(&what, MOST_DETAIL_CHARS).to_string()));
        }
        let request = request.ok_or(BadReview::NoRequest)?;
        let operation = request.operation();
        let RawRequest { uid, namespace, object, old_object, dry_run, resource: _, sub_resource: _, operation: _ } =
            request;
        let uid = uid.filter(|uid| !uid.is_empty()).ok_or(BadReview::NoUid)?;
        let ours = !matches!(operation, Operation::Other(_));
        let pod = |field, raw| match raw {
            _ if !ours => Ok(Pod::default()),
            RawPod::Absent => Ok(Pod::default()),
            RawPod::Pod(pod) => Ok(pod),
            RawPod::Json(json) => {
                Pod::parse(json.get()).map_err(|error| BadReview::Pod { field, detail: words(&error) })
            }
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

    /// Decides this review under a policy, and hands over the plan that led there.
    pub fn decide<'p>(&'a self, mode: Mode, policy: &'p Policy) -> (Plan<'p, 'a>, Decision) {
        let Some(change) = self.change() else { return (Plan { images: Vec::new() }, Decision::pass()) };
        let plan = plan(policy, &self.pod, change);
        let decision = decide(mode, &self.pod, change, &plan);
        (plan, decision)
    }
}

fn words(error: &serde_json::Error) -> String {
    Escaped::cut(&error.to_string(), MOST_DETAIL_CHARS).to_string()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewAnswer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Denial<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "AuditAnnotations::is_empty")]
    audit_annotations: AuditAnnotations<'a>,
}

/// The `metav1.Status` of a denial (A1).
#[derive(Serialize)]
struct Denial<'a> {
    status: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    causes: Vec<StatusCause<'a>>,
}

#[derive(Serialize)]
struct StatusCause<'a> {
    reason: CauseReason,
    message: &'a str,
    field: &'a str,
}

struct AuditAnnotations<'a>(&'a [(Cow<'static, str>, String)]);

impl AuditAnnotations<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AuditAnnotations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// The body of the answer: HTTP 200 for a denial, too (A1).
///
/// # Errors
/// A fault of ours: a decision is strings and booleans, which always serialise.
pub fn answer(uid: &str, decision: &Decision) -> Result<Vec<u8>, serde_json::Error> {
    let Decision { allowed, would_allow: _, patch, warnings, causes, further_causes: _, audit_annotations } = decision;
    let status = (!allowed).then(|| Denial {
        status: "Failure",
        message: decision.message(),
        reason: "Forbidden",
        code: 403,
        details: Details {
            causes: causes
                .iter()
                .map(|Cause { field, reason, message }| StatusCause { reason: *reason, message, field })
                .collect(),
        },
    });
    // Room for all of it at once: a vector that grows copies what it holds.
    const ROOM_PER_OPERATION: usize = 256;
    let room = patch.operations().len() * ROOM_PER_OPERATION;
    let patch = if patch.is_empty() {
        None
    } else {
        let mut operations = Vec::with_capacity(room);
        serde_json::to_writer(&mut operations, patch)?;
        Some(STANDARD.encode(operations))
    };
    let said: usize = audit_annotations.iter().map(|(_, value)| value.len()).sum();
    let mut answer = Vec::with_capacity(512 + patch.as_ref().map_or(0, String::len) + 2 * said);
    let review = ReviewAnswer {
        api_version: API_VERSION,
        kind: KIND,
        response: Response {
            uid,
            allowed: *allowed,
            status,
            patch_type: patch.is_some().then_some("JSONPatch"),
            patch,
            warnings,
            audit_annotations: AuditAnnotations(audit_annotations),
        },
    };
    serde_json::to_writer(&mut answer, &review)?;
    Ok(answer)
}
