//! RFC 6902 operations on the pod's own JSON, built from the plan and never from a difference of two pods (A4).

use super::original_images::ORIGINAL_IMAGES;
use super::pod::ImageField;
use crate::json::Writer;

/// What one `replace` usually takes, in bytes: room for all of them is made at once.
const BYTES_PER_REPLACE: usize = 192;

/// A patch as JSON, in the order in which it is applied. Without operations it is no patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch(String);

impl Patch {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The operations, a JSON array.
    pub fn as_json(&self) -> &str {
        if self.is_empty() { "[]" } else { &self.0 }
    }
}

/// A patch that is being built.
#[derive(Debug)]
pub(super) struct PatchBuilder {
    json: Writer,
    is_empty: bool,
}

impl PatchBuilder {
    /// With room for so many images.
    pub(super) fn new(images: usize) -> Self {
        Self { json: Writer::with_capacity(images * BYTES_PER_REPLACE), is_empty: true }
    }

    /// Replaces the image that is at `field`. A reference needs no escapes: its grammar has none of what does.
    pub(super) fn replace(&mut self, field: ImageField, image: &str) {
        self.operation(r#"{"op":"replace","path":""#);
        field.write_pointer(&mut self.json);
        self.json.raw(r#"","value":"#).plain(image).raw("}");
    }

    /// Sets `mirrorgate.dev/original-images`, adding its parents only where they are absent or null.
    pub(super) fn annotate(&mut self, has_metadata: bool, has_annotations: bool, value: &str) {
        debug_assert_eq!(ORIGINAL_IMAGES, "mirrorgate.dev/original-images");
        let (before, after) = match (has_metadata, has_annotations) {
            (_, true) => (r#"/metadata/annotations/mirrorgate.dev~1original-images","value":"#, "}"),
            (true, false) => (r#"/metadata/annotations","value":{"mirrorgate.dev/original-images":"#, "}}"),
            (false, false) => (r#"/metadata","value":{"annotations":{"mirrorgate.dev/original-images":"#, "}}}"),
        };
        self.operation(r#"{"op":"add","path":""#);
        self.json.raw(before).string(value).raw(after);
    }

    /// Adds pull secrets behind those that are there; the list only where it is absent or null (S2).
    pub(super) fn add_pull_secrets<'n>(&mut self, has_list: bool, names: impl IntoIterator<Item = &'n str>) {
        if has_list {
            for name in names {
                self.operation(r#"{"op":"add","path":"/spec/imagePullSecrets/-","value":{"name":"#);
                self.json.string(name).raw("}}");
            }
        } else {
            self.operation(r#"{"op":"add","path":"/spec/imagePullSecrets","value":"#);
            self.json.list("[]", names, |json, name| {
                json.raw(r#"{"name":"#).string(name).raw("}");
            });
            self.json.raw("}");
        }
    }

    pub(super) fn finish(mut self) -> Patch {
        if !self.is_empty {
            self.json.raw("]");
        }
        Patch(self.json.into_string())
    }

    fn operation(&mut self, start: &str) {
        self.json.raw(if self.is_empty { "[" } else { "," }).raw(start);
        self.is_empty = false;
    }
}
