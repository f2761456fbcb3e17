//! The annotation that tells a person what a pod's author wrote (M12). It is information: no decision reads it.

use std::borrow::Cow;

use super::numbered::Numbered;
use super::plan::{Outcome, PlannedImage};
use super::pod::{ImageList, Pod};
use crate::json::{Reader, Writer};

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
    let of_before = entries.references.len();
    let stored = Entries::read(old.and_then(Pod::original_images));
    for planned in rewritten {
        let is_volume = planned.field.list == ImageList::Volumes;
        let key = if is_volume { Cow::Owned(format!("{VOLUME}{}", planned.name)) } else { Cow::Borrowed(planned.name) };
        match entries.keys.get(&*key) {
            Some(number) if number < of_before && stored.get(&key) == Some(&entries.references[number]) => {
                entries.references[number] = Cow::Borrowed(planned.image);
            }
            Some(_) => {}
            None => entries.put(key, Cow::Borrowed(planned.image)),
        }
    }
    let value = entries.write();
    let weight = pod.annotation_bytes() + value.len() - there.map_or(0, str::len)
        + if there.is_some() { 0 } else { ORIGINAL_IMAGES.len() };
    (weight <= MOST_ANNOTATION_BYTES).then_some(value)
}

/// The annotation's JSON object, in its own order.
#[derive(Default)]
struct Entries<'a> {
    keys: Numbered<Cow<'a, str>>,
    /// Of each of them.
    references: Vec<Cow<'a, str>>,
}

impl<'a> Entries<'a> {
    /// What is no JSON object of strings is as if absent: it is not ours.
    fn read(annotation: Option<&str>) -> Self {
        let read = |text| {
            let (mut entries, mut json) = (Self::default(), Reader::new(text));
            json.object(|json, key| {
                entries.put(key.to_owned().into(), json.string()?.to_string().into());
                Ok(())
            })?;
            json.end().map(|()| entries)
        };
        annotation.and_then(|text| read(text).ok()).unwrap_or_default()
    }

    fn get(&self, key: &str) -> Option<&Cow<'a, str>> {
        self.keys.get(key).map(|number| &self.references[number])
    }

    /// The last word on a key counts.
    fn put(&mut self, key: Cow<'a, str>, reference: Cow<'a, str>) {
        let number = self.keys.number(key);
        match self.references.get_mut(number) {
            Some(there) => *there = reference,
            None => self.references.push(reference),
        }
    }

    fn write(&self) -> String {
        const SYNTAX: usize = r#""":"","#.len();
        let entries = self.keys.keys().iter().zip(&self.references);
        let bytes = entries.clone().map(|(key, reference)| key.len() + reference.len() + SYNTAX).sum::<usize>();
        let mut json = Writer::with_capacity("{}".len() + bytes);
        json.list("{}", entries, |json, (key, reference)| {
            json.string(key).raw(":").string(reference);
        });
        json.into_string()
    }
}
