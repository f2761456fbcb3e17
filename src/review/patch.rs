//! RFC 6902 operations on the pod's own JSON, built from the plan and never from a difference of two pods (A4).

use serde::Serialize;

use super::original_images::ORIGINAL_IMAGES;

/// The operations, in order. An empty patch is no patch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<PatchOperation>);

/// One operation; it serialises as RFC 6902 writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Replaces a string that is there.
    Replace {
        /// JSON pointer.
        path: String,
        /// The new text.
        value: String,
    },
    /// Adds a member to an object that is there, or replaces it.
    Add {
        /// JSON pointer.
        path: &'static str,
        /// What is added.
        value: Added,
    },
}

/// What an `add` brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Added {
    /// The annotation, into annotations that are there.
    Text(String),
    /// The annotations with it, where there are none.
    Annotations(Annotations),
    /// The metadata with them, where there is none.
    Metadata {
        /// `metadata.annotations`
        annotations: Annotations,
    },
}

/// `metadata.annotations` with our annotation alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Annotations {
    /// The value of `mirrorgate.dev/original-images`.
    #[serde(rename = "mirrorgate.dev/original-images")]
    pub original_images: String,
}

impl Patch {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[PatchOperation] {
        &self.0
    }

    /// Replaces the string at `pointer`, which must be there.
    pub(super) fn replace(&mut self, pointer: String, value: String) {
        self.0.push(PatchOperation::Replace { path: pointer, value });
    }

    /// Sets `mirrorgate.dev/original-images`, adding its parents only where they are absent or null.
    pub(super) fn annotate(&mut self, has_metadata: bool, has_annotations: bool, value: String) {
        debug_assert_eq!(ORIGINAL_IMAGES, "mirrorgate.dev/original-images");
        let annotations = |original_images| Annotations { original_images };
        self.0.push(match (has_metadata, has_annotations) {
            (_, true) => PatchOperation::Add {
                path: "/metadata/annotations/mirrorgate.dev~1original-images",
                value: Added::Text(value),
            },
            (true, false) => {
                PatchOperation::Add { path: "/metadata/annotations", value: Added::Annotations(annotations(value)) }
            }
            (false, false) => {
                PatchOperation::Add { path: "/metadata", value: Added::Metadata { annotations: annotations(value) } }
            }
        });
    }
}
