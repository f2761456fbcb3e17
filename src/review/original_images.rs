//! The annotation that tells a person what a pod's author wrote (M12). It is information: no decision reads it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::plan::{Outcome, PlannedImage};
use super::pod::{ImageList, Pod};
use crate::json::Writer;

/// The annotation's key.
pub const ORIGINAL_IMAGES: &str = "mirrorgate.dev/original-images";

/// In front of a volume's name; a container's stands alone.
const VOLUME: &str = "volume:";

/// The most that the API server lets a pod's annotations weigh, keys and values together.
const MOST_ANNOTATION_BYTES: usize = 256 * 1024;

/// The annotation's value once the plan's rewrites are in it; none where it would take the pod's annotations over the
/// API server's limit, or nothing is rewritten.
///
/// Entries that are there stay: they are of an earlier call for this same request. On an UPDATE (`old` is the stored
/// pod) an entry that the stored pod has as well tells of an image that this update replaces, and makes way.
pub(super) fn original_images(pod: &Pod<'_>, old: Option<&Pod<'_>>, images: &[PlannedImage<'_, '_>]) -> Option<String> {
    let mut rewritten = images.iter().filter(|i| matches!(i.outcome, Outcome::Rewritten { .. })).peekable();
    rewritten.peek()?;
    let there = pod.original_images();
    let mut entries = Entries::read(there);
    let stored = Entries::read(old.and_then(Pod::original_images));
    let stored: HashSet<(&str, &str)> = stored.0.iter().map(|(key, reference)| (&**key, &**reference)).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, (key, _)) in entries.0.iter().enumerate() {
        places.entry(key.clone().into_owned()).or_insert(place);
    }
    entries.0.reserve(images.len());
    let mut added = HashSet::with_capacity(images.len());
    for planned in rewritten {
        let is_volume = planned.field.list == ImageList::Volumes;
        let key = if is_volume { Cow::Owned(format!("{VOLUME}{}", planned.name)) } else { Cow::Borrowed(planned.name) };
        match places.get(&*key) {
            Some(&place) => {
                let (key, reference) = &mut entries.0[place];
                if stored.contains(&(&**key, &**reference)) {
                    *reference = Cow::Borrowed(planned.image);
                }
            }
            None if added.insert((is_volume, planned.name)) => entries.0.push((key, Cow::Borrowed(planned.image))),
            None => {}
        }
    }
    let value = entries.write();
    let weight = pod.annotation_bytes() + value.len() - there.map_or(0, str::len)
        + if there.is_some() { 0 } else { ORIGINAL_IMAGES.len() };
    (weight <= MOST_ANNOTATION_BYTES).then_some(value)
}

/// The annotation's JSON object, in its own order.
#[derive(Default)]
struct Entries<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Entries<'_> {
    /// What is no JSON object of strings is as if absent: it is not ours.
    fn read(annotation: Option<&str>) -> Self {
        annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    fn write(&self) -> String {
        let mut json =
            Writer::with_capacity(self.0.iter().map(|(key, reference)| key.len() + reference.len() + 6).sum());
        json.list("{}", &self.0, |json, (key, reference)| {
            json.string(key).raw(":").string(reference);
        });
        json.into_string()
    }
}

impl<'de> Deserialize<'de> for Entries<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'static>, A::Error> {
                let mut entries = Entries::default();
                while let Some((key, reference)) = map.next_entry::<String, String>()? {
                    entries.0.push((key.into(), reference.into()));
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}
