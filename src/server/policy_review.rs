//! `AdmissionReview` of the policy ConfigMap, in and out.
//!
//! As in `wire`, the request is borrowed from the body. What is decided is not here (`guard`).

use crate::json::{Fault, Reader, Text, Writer};
use crate::policy::Fault as PolicyFault;

use super::wire::{self, BadReview, Resource};

/// What a review of a ConfigMap asks.
#[derive(Default)]
pub(super) struct PolicyReview<'a> {
    /// Goes into the answer as it came.
    pub(super) uid: Text<'a>,
    resource: Resource<'a>,
    sub_resource: Text<'a>,
    operation: Text<'a>,
    pub(super) namespace: Text<'a>,
    pub(super) name: Text<'a>,
    /// Who asks.
    pub(super) user: Text<'a>,
    /// Whether nothing will be stored; it decides nothing (U6).
    pub(super) dry_run: bool,
    object: Option<&'a str>,
    old_object: Option<&'a str>,
}

/// What is done to a ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
    Other,
}

impl Operation {
    /// The word in logs and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        }
    }
}

impl<'a> PolicyReview<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// What is no review that can be answered.
    pub(super) fn parse(body: &'a str) -> Result<Self, BadReview> {
        let review = wire::envelope(body, Self::read)?;
        if review.uid.is_empty() {
            return Err(BadReview::NoUid);
        }
        Ok(review)
    }

    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        fn text<'a>(json: &mut Reader<'a>) -> Result<Text<'a>, Fault> {
            Ok(json.optional(Reader::string)?.unwrap_or_default())
        }
        json.object_into(|review: &mut Self, json, key| {
            match key {
                "uid" => review.uid = text(json)?,
                "resource" => review.resource = json.optional(Resource::read)?.unwrap_or_default(),
                "subResource" => review.sub_resource = text(json)?,
                "operation" => review.operation = text(json)?,
                "namespace" => review.namespace = text(json)?,
                "name" => review.name = text(json)?,
                "userInfo" => {
                    review.user = json.optional(|json| member(json, "username", text))?.flatten().unwrap_or_default()
                }
                "dryRun" => review.dry_run = json.optional(Reader::bool)?.unwrap_or_default(),
                "object" => review.object = json.optional(Reader::raw)?,
                "oldObject" => review.old_object = json.optional(Reader::raw)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// Whether it is about a ConfigMap itself.
    pub(super) fn is_of_a_config_map(&self) -> bool {
        self.resource.is_core_v1("configmaps") && self.sub_resource.is_empty()
    }

    pub(super) fn operation(&self) -> Operation {
        match &*self.operation {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => Operation::Other,
        }
    }

    /// What the ConfigMap will have under a key of `data`.
    ///
    /// # Errors
    /// It has not the shape of a ConfigMap.
    pub(super) fn data(&self, key: &str) -> Result<Option<Text<'a>>, BadReview> {
        data(self.object, key, "object")
    }

    /// What the stored ConfigMap has there.
    ///
    /// # Errors
    /// It has not the shape of a ConfigMap.
    pub(super) fn old_data(&self, key: &str) -> Result<Option<Text<'a>>, BadReview> {
        data(self.old_object, key, "oldObject")
    }
}

fn data<'a>(object: Option<&'a str>, key: &str, field: &'static str) -> Result<Option<Text<'a>>, BadReview> {
    let Some(object) = object else { return Ok(None) };
    let in_data = |json: &mut Reader<'a>| {
        let data = json.optional(|json| member(json, key, |json| json.optional(Reader::string)))?;
        Ok(data.flatten().flatten())
    };
    let found = member(&mut Reader::new(object), "data", in_data);
    match found {
        Ok(found) => Ok(found.flatten()),
        Err(fault) => Err(BadReview::Object { field, kind: "ConfigMap", detail: wire::words(&fault.reason()) }),
    }
}

/// The member of the next object that has this key.
fn member<'a, T>(
    json: &mut Reader<'a>,
    wanted: &str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut found = None;
    json.object(|json, key| {
        if key == wanted {
            found = Some(read(json)?);
            return Ok(());
        }
        json.skip()
    })?;
    Ok(found)
}

/// A refusal, for people and for machines.
pub(super) struct Refused {
    /// With line breaks; the API server hands it on as it is (A1).
    pub(super) message: String,
    /// What is wrong with the document.
    pub(super) faults: Vec<PolicyFault>,
}

/// The most faults in the part for machines.
const MOST_CAUSES: usize = 100;

/// The body of the answer.
pub(super) fn answer(uid: &str, refused: Option<&Refused>, warnings: &[String]) -> String {
    let mut json = Writer::default();
    wire::begin(&mut json, uid, refused.is_none());
    if let Some(Refused { message, faults }) = refused {
        wire::denial(&mut json, message, faults.iter().take(MOST_CAUSES), |json, fault| {
            wire::cause(json, "PolicyInvalid", &fault.to_string(), &fault.path);
        });
    }
    wire::warnings(&mut json, warnings);
    json.raw("}}");
    json.into_string()
}
