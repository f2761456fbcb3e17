//! Every place where a pod names an image, read from the pod's own JSON.
//!
//! Only the fields that a decision needs are read, borrowed from the body; the rest is skipped. The pod is never built
//! up and written back: fields that these types do not know stay as they are (A4).

use std::collections::HashMap;
use std::fmt;

use super::original_images::ORIGINAL_IMAGES;
use crate::json::{Fault, Reader, Text, Writer};

/// The annotation that the kubelet puts on the mirror pod of a static pod. Its presence decides, not its value (U1).
const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// A pod, as far as a decision reads it. Lists and objects that are `null` are as if absent.
#[derive(Debug, Default)]
pub struct Pod<'a> {
    metadata: Option<Metadata<'a>>,
    spec: Option<Spec<'a>>,
}

#[derive(Debug, Default)]
struct Metadata<'a> {
    name: Option<Text<'a>>,
    generate_name: Option<Text<'a>>,
    deletion_timestamp: Option<Text<'a>>,
    annotations: Option<Annotations<'a>>,
    owner_references: Vec<Option<Owner<'a>>>,
}

/// An entry that is `null` keeps its place.
#[derive(Debug, Default)]
struct Spec<'a> {
    containers: Vec<Option<Container<'a>>>,
    init_containers: Vec<Option<Container<'a>>>,
    ephemeral_containers: Vec<Option<Container<'a>>>,
    /// Those that hold an image, with their places in the list.
    volumes: Vec<(usize, Volume<'a>)>,
    /// The names; what an entry without one is, is not our business.
    image_pull_secrets: Option<Vec<Text<'a>>>,
}

#[derive(Debug, Default)]
struct Container<'a> {
    name: Option<Text<'a>>,
    image: Option<Text<'a>>,
    image_pull_policy: Option<Text<'a>>,
}

#[derive(Debug, Default)]
struct Volume<'a> {
    name: Option<Text<'a>>,
    image: Option<ImageVolume<'a>>,
}

#[derive(Debug, Default)]
struct ImageVolume<'a> {
    reference: Option<Text<'a>>,
    pull_policy: Option<Text<'a>>,
}

/// An owner reference. An author can forge one: it may stop a rewrite, never a check (M10).
#[derive(Debug, Default)]
pub struct Owner<'a> {
    api_version: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
}

fn text<'a>(json: &mut Reader<'a>) -> Result<Option<Text<'a>>, Fault> {
    json.optional(Reader::string)
}

/// A list whose entries may be `null`; empty where it is `null` itself.
fn entries<'a, T>(
    json: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Fault>,
) -> Result<Vec<Option<T>>, Fault> {
    let mut entries = Vec::new();
    json.optional(|json| {
        json.list(|json| {
            entries.push(json.optional(&read)?);
            Ok(())
        })
    })?;
    Ok(entries)
}

/// The volumes that hold an image; most do not.
fn image_volumes<'a>(json: &mut Reader<'a>) -> Result<Vec<(usize, Volume<'a>)>, Fault> {
    let mut volumes = Vec::new();
    let mut place = 0;
    json.optional(|json| {
        json.list(|json| {
            let volume = json.optional(Volume::read)?.filter(|volume| volume.image.is_some());
            volumes.extend(volume.map(|volume| (place, volume)));
            place += 1;
            Ok(())
        })
    })?;
    Ok(volumes)
}

/// The names of a list of references to Secrets, in whatever odd shapes these are.
fn pull_secret_names<'a>(json: &mut Reader<'a>) -> Result<Vec<Text<'a>>, Fault> {
    let mut names = Vec::new();
    json.list(|json| {
        let name = json.optional(|json| {
            json.object_into(|name: &mut Option<Text<'a>>, json, key| {
                match key {
                    "name" => *name = text(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })?;
        names.extend(name.flatten());
        Ok(())
    })?;
    Ok(names)
}

impl<'a> Metadata<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|metadata: &mut Self, json, key| {
            match key {
                "name" => metadata.name = text(json)?,
                "generateName" => metadata.generate_name = text(json)?,
                "deletionTimestamp" => metadata.deletion_timestamp = text(json)?,
                "annotations" => metadata.annotations = json.optional(Annotations::read)?,
                "ownerReferences" => metadata.owner_references = entries(json, Owner::read)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> Spec<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|spec: &mut Self, json, key| {
            match key {
                "containers" => spec.containers = entries(json, Container::read)?,
                "initContainers" => spec.init_containers = entries(json, Container::read)?,
                "ephemeralContainers" => spec.ephemeral_containers = entries(json, Container::read)?,
                "volumes" => spec.volumes = image_volumes(json)?,
                "imagePullSecrets" => spec.image_pull_secrets = json.optional(pull_secret_names)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> Container<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|container: &mut Self, json, key| {
            match key {
                "name" => container.name = text(json)?,
                "image" => container.image = text(json)?,
                "imagePullPolicy" => container.image_pull_policy = text(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> Volume<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|volume: &mut Self, json, key| {
            match key {
                "name" => volume.name = text(json)?,
                "image" => volume.image = json.optional(ImageVolume::read)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> ImageVolume<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|image: &mut Self, json, key| {
            match key {
                "reference" => image.reference = text(json)?,
                "pullPolicy" => image.pull_policy = text(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> Owner<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|owner: &mut Self, json, key| {
            match key {
                "apiVersion" => owner.api_version = text(json)?,
                "kind" => owner.kind = text(json)?,
                "name" => owner.name = text(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }
}

impl Owner<'_> {
    /// `group/version`, or `version` alone for the core group; empty where absent.
    pub fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or_default()
    }

    /// Empty where absent.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name.as_deref().unwrap_or_default())
    }
}

/// What is read of the annotations: never a reason for a decision, but for mirror pods (U1, M12).
#[derive(Debug, Default)]
struct Annotations<'a> {
    mirror_pod: bool,
    original_images: Option<Text<'a>>,
    /// Bytes of all keys and values, as the API server counts them against its limit.
    bytes: usize,
}

impl<'a> Annotations<'a> {
    fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|annotations: &mut Self, json, key| {
            let value = text(json)?;
            annotations.bytes += key.len() + value.as_deref().map_or(0, str::len);
            match key {
                MIRROR_POD => annotations.mirror_pod = true,
                ORIGINAL_IMAGES => annotations.original_images = value,
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'a> Pod<'a> {
    /// Reads a pod from its JSON.
    ///
    /// # Errors
    /// What is no JSON, or of another shape than a pod (a number as image, a list as spec), which no API server sends.
    pub fn parse(json: &'a str) -> Result<Self, Fault> {
        let mut json = Reader::new(json);
        let pod = Self::read(&mut json)?;
        json.end()?;
        Ok(pod)
    }

    /// Reads the pod that is next.
    ///
    /// # Errors
    /// As `parse`.
    pub fn read(json: &mut Reader<'a>) -> Result<Self, Fault> {
        json.object_into(|pod: &mut Self, json, key| {
            match key {
                "metadata" => pod.metadata = json.optional(Metadata::read)?,
                "spec" => pod.spec = json.optional(Spec::read)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// `metadata.name`; empty where absent, as it is under `generateName` (U5).
    pub fn name(&self) -> &str {
        self.metadata.as_ref().and_then(|m| m.name.as_deref()).unwrap_or_default()
    }

    /// `metadata.generateName`; empty where absent.
    pub fn generate_name(&self) -> &str {
        self.metadata.as_ref().and_then(|m| m.generate_name.as_deref()).unwrap_or_default()
    }

    /// The owner references.
    pub fn owners(&self) -> impl Iterator<Item = &Owner<'a>> {
        self.metadata.iter().flat_map(|metadata| metadata.owner_references.iter().flatten())
    }

    /// Whether this is the mirror pod of a static pod (U1).
    pub fn is_mirror_pod(&self) -> bool {
        self.annotations().is_some_and(|a| a.mirror_pod)
    }

    /// Whether the pod is being deleted (U4).
    pub fn is_being_deleted(&self) -> bool {
        self.metadata.as_ref().is_some_and(|m| m.deletion_timestamp.is_some())
    }

    pub(super) fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    pub(super) fn has_annotations(&self) -> bool {
        self.annotations().is_some()
    }

    pub(super) fn annotation_bytes(&self) -> usize {
        self.annotations().map_or(0, |a| a.bytes)
    }

    /// The annotation of an earlier call, or what an author wrote under its name.
    pub(super) fn original_images(&self) -> Option<&str> {
        self.annotations().and_then(|a| a.original_images.as_deref())
    }

    /// Whether `spec.imagePullSecrets` is a list, be it an empty one.
    pub(super) fn has_pull_secrets(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.image_pull_secrets.is_some())
    }

    /// The names in `spec.imagePullSecrets`, of the author's or the service account's making.
    pub(super) fn pull_secret_names(&self) -> impl Iterator<Item = &str> {
        self.spec.iter().filter_map(|spec| spec.image_pull_secrets.as_deref()).flatten().map(|name| &**name)
    }

    fn annotations(&self) -> Option<&Annotations<'a>> {
        self.metadata.as_ref().and_then(|m| m.annotations.as_ref())
    }

    /// Every image that is there, in the order containers, initContainers, ephemeralContainers, volumes (M8). One that
    /// is missing, empty or null is not among them: the API server validates after us (A4).
    pub fn images(&self) -> impl Iterator<Item = NamedImage<'_>> {
        [ImageList::Containers, ImageList::InitContainers, ImageList::EphemeralContainers]
            .into_iter()
            .flat_map(|list| self.containers(list).map(move |(index, container)| container.image(list, index)))
            .chain(self.volumes().iter().map(|(index, volume)| volume.image(*index)))
            .flatten()
    }

    /// The image of every container by list and name, the first where a name stands twice; empty where absent.
    pub(super) fn images_by_name(&self) -> HashMap<(ImageList, &str), &str> {
        let mut images = HashMap::new();
        for list in [ImageList::Containers, ImageList::InitContainers, ImageList::EphemeralContainers] {
            for (_, Container { name, image, .. }) in self.containers(list) {
                let name = name.as_deref().unwrap_or_default();
                images.entry((list, name)).or_insert(image.as_deref().unwrap_or_default());
            }
        }
        images
    }

    fn containers(&self, list: ImageList) -> impl Iterator<Item = (usize, &Container<'a>)> {
        let containers = self.spec.as_ref().map_or(&[][..], |spec| match list {
            ImageList::Containers => &spec.containers,
            ImageList::InitContainers => &spec.init_containers,
            ImageList::EphemeralContainers => &spec.ephemeral_containers,
            ImageList::Volumes => &[],
        });
        containers.iter().enumerate().filter_map(|(index, container)| Some((index, container.as_ref()?)))
    }

    fn volumes(&self) -> &[(usize, Volume<'a>)] {
        self.spec.as_ref().map_or(&[], |spec| &spec.volumes)
    }
}

impl Container<'_> {
    fn image(&self, list: ImageList, index: usize) -> Option<NamedImage<'_>> {
        NamedImage::new(list, index, &self.name, &self.image, &self.image_pull_policy)
    }
}

impl Volume<'_> {
    fn image(&self, index: usize) -> Option<NamedImage<'_>> {
        let image = self.image.as_ref()?;
        NamedImage::new(ImageList::Volumes, index, &self.name, &image.reference, &image.pull_policy)
    }
}

/// An image as a pod names it.
#[derive(Clone, Copy, Debug)]
pub struct NamedImage<'a> {
    /// Where it stands.
    pub field: ImageField,
    /// The container's or volume's name; empty where absent.
    pub name: &'a str,
    /// The text, as its author wrote it; never empty.
    pub image: &'a str,
    /// Whether the pull policy is `Never` (M9).
    pub never_pulled: bool,
}

impl<'a> NamedImage<'a> {
    fn new(
        list: ImageList,
        index: usize,
        name: &'a Option<Text<'_>>,
        image: &'a Option<Text<'_>>,
        pull_policy: &'a Option<Text<'_>>,
    ) -> Option<Self> {
        let image = image.as_deref().filter(|image| !image.is_empty())?;
        Some(Self {
            field: ImageField { list, index },
            name: name.as_deref().unwrap_or_default(),
            image,
            never_pulled: pull_policy.as_deref() == Some("Never"),
        })
    }
}

/// The lists of a pod whose entries name images (M8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageList {
    /// `spec.containers`
    Containers,
    /// `spec.initContainers`
    InitContainers,
    /// `spec.ephemeralContainers`
    EphemeralContainers,
    /// `spec.volumes`, for `image.reference`
    Volumes,
}

impl ImageList {
    fn key(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
            Self::Volumes => "volumes",
        }
    }

    /// What one entry is called in messages.
    pub fn entry(self) -> &'static str {
        match self {
            Self::Containers => "container",
            Self::InitContainers => "init container",
            Self::EphemeralContainers => "ephemeral container",
            Self::Volumes => "volume",
        }
    }
}

/// Where in a pod an image stands. `Display` writes the path as Kubernetes does: `spec.containers[0].image`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageField {
    /// The list.
    pub list: ImageList,
    /// The entry of the list, from 0.
    pub index: usize,
}

impl ImageField {
    /// Writes the JSON pointer (RFC 6901): `/spec/containers/0/image`.
    pub(super) fn write_pointer(self, json: &mut Writer) {
        let tail = if self.list == ImageList::Volumes { "/image/reference" } else { "/image" };
        json.raw("/spec/").raw(self.list.key()).raw("/").number(self.index).raw(tail);
    }

    /// Writes the path as `Display` does, several times as fast.
    pub(super) fn write_path(self, json: &mut Writer) {
        let tail = if self.list == ImageList::Volumes { "].image.reference" } else { "].image" };
        json.raw("spec.").raw(self.list.key()).raw("[").number(self.index).raw(tail);
    }
}

impl fmt::Display for ImageField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = if self.list == ImageList::Volumes { "image.reference" } else { "image" };
        write!(f, "spec.{}[{}].{tail}", self.list.key(), self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Vec<String> {
        Pod::parse(json).unwrap().images().map(|image| format!("{}={}", image.field, image.image)).collect()
    }

    #[test]
    fn m8_every_place_that_names_an_image() {
        let json = r#"{"spec":{"volumes":[{"name":"a"},{"name":"m","image":{"reference":"v"}}],"ephemeralContainers":[{"image":"e"}],
            "initContainers":[{"image":"i"}],"containers":[{"name":"w","image":"c0"},{"image":"c1"}]}}"#;
        assert_eq!(
            fields(json),
            [
                "spec.containers[0].image=c0",
                "spec.containers[1].image=c1",
                "spec.initContainers[0].image=i",
                "spec.ephemeralContainers[0].image=e",
                "spec.volumes[1].image.reference=v"
            ]
        );
    }

    #[test]
    fn a4_missing_empty_and_null_images_are_left_alone() {
        for json in [
            r"{}",
            r#"{"metadata":null,"spec":null}"#,
            r#"{"spec":{"containers":null,"initContainers":[null],"volumes":[{"image":null},{"image":{}},{"image":{"reference":null}}]}}"#,
            r#"{"spec":{"containers":[{},{"image":null},{"image":""}]}}"#,
        ] {
            assert_eq!(fields(json), [""; 0], "{json}");
        }
    }

    #[test]
    fn a_pod_of_the_wrong_shape_is_an_error() {
        for json in [
            r#"{"spec":[]}"#,
            r#"{"spec":{"containers":[{"image":7}]}}"#,
            r#"{"metadata":{"annotations":[]}}"#,
            "[]",
            r#"{"spec":{"containers":[[]]}}"#,
        ] {
            assert!(Pod::parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn u1_the_presence_of_the_key_makes_a_mirror_pod() {
        for (json, expected) in [
            (r#"{"metadata":{"annotations":{"kubernetes.io/config.mirror":""}}}"#, true),
            (r#"{"metadata":{"annotations":{"kubernetes.io/config.source":"api"}}}"#, false),
            (r#"{"metadata":{"annotations":null}}"#, false),
        ] {
            assert_eq!(Pod::parse(json).unwrap().is_mirror_pod(), expected, "{json}");
        }
    }
}
