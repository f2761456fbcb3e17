//! Which pull secrets go with a pod, and which of its images none of them serves (S1 to S6, U2, U3).
//!
//! Each image is taken by the registry that the kubelet will really pull it from, after rewriting. The policy names the
//! secrets for that registry; what is known of the namespace's secrets says whether the kubelet would find a credential
//! in them. That a secret is not known to be there is not the same as knowing that it is not.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use crate::image::{Escaped, Reference};
use crate::keyring::{Coverage, DOCKER_CONFIG_JSON, Malformed, PullSecret};
use crate::policy::{InvalidSecretName, OnMissingPullSecret, Policy, PullSecretSource, Route};

use super::Change;
use super::plan::{Kept, Outcome, PlannedImage};
use super::pod::Pod;
use super::secrets::{Known, PullSecrets};

/// The most characters of a registry, repository or key in a message.
const MOST_NAME_CHARS: usize = 80;

/// The most keys of a secret that a message names.
const MOST_KEYS: usize = 5;

/// The pull secrets for one pod.
#[derive(Debug, Default)]
pub struct PullSecretPlan<'p> {
    /// What the policy has for the pod's images: each secret, registry and state once.
    pub uses: Vec<SecretUse<'p>>,
    /// The names that the pod gets, in policy order (S2).
    pub added: Vec<Cow<'p, str>>,
    /// What is wrong with images that no secret is known to serve.
    pub findings: Vec<SecretFinding<'p>>,
    /// Whether a finding stands against the pod (`onMissingPullSecret: deny`).
    pub denies: bool,
}

/// What the findings of a plan rest on, as far as it can be looked at again.
#[derive(Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// The secrets that are missing, or not what the pod needs.
    pub names: BTreeSet<String>,
    /// Whether a secret was to be discovered, and none was.
    pub discovered: bool,
}

impl PullSecretPlan<'_> {
    /// What is to be looked at again before a finding is said: what was made a moment ago may not be known yet.
    pub fn in_doubt(&self) -> Option<InDoubt> {
        let mut doubt = InDoubt { names: BTreeSet::new(), discovered: false };
        for finding in &self.findings {
            match &finding.fault {
                Fault::Missing { name }
                | Fault::DoesNotCover { name, .. }
                | Fault::NotADockerConfig { name, .. }
                | Fault::Malformed { name, .. } => {
                    if !doubt.names.contains(&**name) {
                        doubt.names.insert(name.to_string());
                    }
                }
                Fault::NoneDiscovered => doubt.discovered = true,
                Fault::Unknown { .. } | Fault::Name(_) | Fault::NotListed { .. } => {}
            }
        }
        (!doubt.names.is_empty() || doubt.discovered).then_some(doubt)
    }
}

/// What one secret is for the images of one registry.
#[derive(Debug)]
pub struct SecretUse<'p> {
    /// The secret.
    pub name: Cow<'p, str>,
    /// Where the images are pulled from.
    pub registry: String,
    /// What is known of it.
    pub state: SecretState,
    /// The images, as places in the plan's.
    pub images: Vec<usize>,
}

/// Whether a secret serves an image (S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretState {
    /// The kubelet would find a credential.
    Covers,
    /// It would not.
    DoesNotCover,
    /// There is no such secret.
    Missing,
    /// It is of another type: the kubelet ignores it.
    NotADockerConfig,
    /// The right type, and not what it should be.
    Malformed,
    /// It could not be looked up.
    Unknown,
}

impl SecretState {
    /// The word in JSON, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Covers => "covers",
            Self::DoesNotCover => "does-not-cover",
            Self::Missing => "missing",
            Self::NotADockerConfig => "not-a-docker-config",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }
}

/// Images of one registry that no secret is known to serve, and why one that should does not.
#[derive(Debug)]
pub struct SecretFinding<'p> {
    /// Where the images are pulled from.
    pub registry: String,
    /// The images, as places in the plan's.
    pub images: Vec<usize>,
    namespace: String,
    fault: Fault<'p>,
}

#[derive(Debug)]
enum Fault<'p> {
    Missing {
        name: Cow<'p, str>,
    },
    /// `image` is the first that is not covered; the keys are those that the secret has.
    DoesNotCover {
        name: Cow<'p, str>,
        image: String,
        keys: String,
    },
    NotADockerConfig {
        name: Cow<'p, str>,
        secret_type: String,
    },
    Malformed {
        name: Cow<'p, str>,
        malformed: Malformed,
    },
    Unknown {
        name: Option<Cow<'p, str>>,
    },
    /// `discover: true`, and no secret of the namespace covers the registry.
    NoneDiscovered,
    /// The policy's name is none in this namespace.
    Name(InvalidSecretName),
    /// The pod is there already, and lists none of these.
    NotListed {
        names: Vec<Cow<'p, str>>,
    },
}

impl SecretFinding<'_> {
    /// Whether it is known that no secret serves the images. Else nobody could look.
    pub fn is_certain(&self) -> bool {
        !matches!(self.fault, Fault::Unknown { .. })
    }
}

/// A sentence for people: the registry, the secret, the namespace, what is wrong, and the command that mends it.
impl fmt::Display for SecretFinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = Escaped::cut(&self.registry, MOST_NAME_CHARS);
        let namespace = Escaped::cut(&self.namespace, MOST_NAME_CHARS);
        let create = |name: &str| {
            format!(
                "kubectl -n {namespace} create secret docker-registry {name} --docker-server={registry} \
                 --docker-username=USER --docker-password=PASSWORD"
            )
        };
        match &self.fault {
            Fault::Missing { name } => {
                write!(f, "no pull secret for {registry}: {name} is missing in {namespace}; {}", create(name))
            }
            Fault::DoesNotCover { name, image, keys } => write!(
                f,
                "no pull secret for {registry}: {name} in {namespace} does not cover {}, it has {keys} (what follows replaces that); {} --dry-run=client -o yaml | kubectl apply -f -",
                Escaped::cut(image, MOST_NAME_CHARS),
                create(name)
            ),
            Fault::NotADockerConfig { name, secret_type } => write!(
                f,
                "no pull secret for {registry}: {name} in {namespace} is of type {}, and the kubelet takes {DOCKER_CONFIG_JSON}; \
                 kubectl -n {namespace} delete secret {name} && {}",
                Escaped::cut(secret_type, MOST_NAME_CHARS),
                create(name)
            ),
            Fault::Malformed { name, malformed } => {
                let left_out = if malformed.stops_every_pull() {
                    "; the kubelet pulls nothing for a pod that lists it, so it is not added"
                } else {
                    ""
                };
                write!(
                    f,
                    "no pull secret for {registry}: {name} in {namespace} is malformed, {malformed}{left_out}; \
                     kubectl -n {namespace} delete secret {name} && {}",
                    create(name)
                )
            }
            Fault::Unknown { name: Some(name) } => {
                write!(f, "the pull secret {name} for {registry} could not be checked in {namespace}; /readyz says why")
            }
            Fault::Unknown { name: None } => {
                write!(f, "the pull secrets for {registry} could not be looked up in {namespace}; /readyz says why")
            }
            Fault::NoneDiscovered => {
                write!(f, "no pull secret for {registry}: none in {namespace} covers it; {}", create("NAME"))
            }
            Fault::Name(invalid) => write!(f, "no pull secret for {registry}: {invalid}"),
            Fault::NotListed { names } => write!(
                f,
                "the pod has no pull secret for {registry}, and none can be added to a pod that is there; \
                 create it anew, it then gets {}",
                names.join(", ")
            ),
        }
    }
}

/// Plans for the images that the change may still alter. Without rules for pull secrets nothing is looked at.
pub(super) fn pull_secrets<'p>(
    policy: &'p Policy,
    namespace: &str,
    pod: &Pod<'_>,
    change: Change<'_>,
    images: &[PlannedImage<'p, '_>],
    secrets: &PullSecrets,
) -> PullSecretPlan<'p> {
    if !policy.has_pull_secrets() {
        return PullSecretPlan::default();
    }
    let listed: BTreeSet<&str> = pod.pull_secret_names().collect();
    let mut planner = Planner {
        policy,
        namespace,
        secrets,
        is_creation: matches!(change, Change::Create),
        spoiling: listed.iter().filter_map(|own| Some((*own, spoils(secrets.get(own))?))).collect(),
        listed,
        registries: HashMap::new(),
        uses: Vec::new(),
        use_places: HashMap::new(),
        added: Vec::new(),
        findings: Vec::new(),
        finding_places: HashMap::new(),
    };
    for (place, planned) in images.iter().enumerate() {
        if let Some(reference) = pulled(planned) {
            let is_mirrored = matches!(planned.outcome, Outcome::Rewritten { .. });
            planner.image(place, &reference, is_mirrored);
        }
    }
    planner.finish()
}

/// The names that the policy has for an image, whatever pod and secrets there are; a discovered one has none (S1, S4).
pub fn pull_secret_names<'p>(
    policy: &'p Policy,
    namespace: &str,
    pulled: &Reference<'_>,
) -> Vec<Result<Cow<'p, str>, InvalidSecretName>> {
    let registry = pulled.registry();
    let names = policy.pull_secrets(registry.as_str(), namespace).filter_map(|rule| match rule.source() {
        PullSecretSource::Named(name) => Some(name.name_in(namespace)),
        PullSecretSource::Discovered => None,
    });
    let mut seen = HashSet::new();
    names.filter(|name| name.as_ref().map_or(true, |name| seen.insert(name.clone()))).collect()
}

/// What the kubelet will pull for an image; nothing where it is left alone entirely, or cannot be read (M9, M10, S1).
fn pulled<'i>(planned: &'i PlannedImage<'_, 'i>) -> Option<Reference<'i>> {
    let text = match &planned.outcome {
        Outcome::Rewritten { to, .. } => to,
        Outcome::Kept(Kept::IgnoredText | Kept::Routed(Route::IgnoredImage { .. })) => return None,
        Outcome::Kept(_) => planned.image,
        Outcome::Unreadable(_) | Outcome::Unmirrorable { .. } => return None,
    };
    Reference::parse(text).ok()
}

struct Planner<'p, 's> {
    policy: &'p Policy,
    namespace: &'s str,
    secrets: &'s PullSecrets,
    is_creation: bool,
    /// What the pod has already, from its author or its service account.
    listed: BTreeSet<&'s str>,
    /// Of these, what the kubelet cannot read.
    spoiling: Vec<(&'s str, Malformed)>,
    /// The registries that images are pulled from, each asked for once.
    registries: HashMap<String, Rc<RegistrySecrets<'p, 's>>>,
    uses: Vec<SecretUse<'p>>,
    /// By registry's number, name and state.
    use_places: HashMap<(usize, Cow<'p, str>, SecretState), usize>,
    /// With the places of their rules.
    added: Vec<(usize, Cow<'p, str>)>,
    findings: Vec<SecretFinding<'p>>,
    finding_places: HashMap<Place, usize>,
}

/// A registry, and what the policy has for it.
struct RegistrySecrets<'p, 's> {
    /// Which of the pod's it is, from 0.
    number: usize,
    registry: String,
    candidates: Vec<Candidate<'p, 's>>,
}

struct Candidate<'p, 's> {
    rule: usize,
    secret: Wanted<'p, 's>,
}

enum Wanted<'p, 's> {
    Named(Cow<'p, str>, Known<'s>),
    BadName(InvalidSecretName),
    /// Every docker config of the namespace; none where they could not be looked up.
    Discovered(Option<Vec<(&'s str, &'s PullSecret)>>),
}

/// A registry's number, and its candidate's.
type Place = (usize, usize);

impl<'p, 's> Planner<'p, 's> {
    fn image(&mut self, image: usize, pulled: &Reference<'_>, is_mirrored: bool) {
        let registry = pulled.registry();
        let of_registry = match self.registries.get(registry.as_str()) {
            Some(found) => Rc::clone(found),
            None => {
                let (number, registry) = (self.registries.len(), registry.as_str().to_owned());
                let candidates = self.candidates(&registry);
                let found = Rc::new(RegistrySecrets { number, registry: registry.clone(), candidates });
                self.registries.insert(registry, Rc::clone(&found));
                found
            }
        };
        if of_registry.candidates.is_empty() {
            return;
        }
        // What the kubelet compares with: the author's letters, without tag and digest.
        let name = format!("{}/{}{}", pulled.host(), pulled.library(), pulled.path());
        let has_own = self.listed.iter().any(|own| match self.secrets.get(own) {
            Known::Secret(secret) => covers(secret, &name),
            _ => false,
        });
        if self.is_creation {
            self.of_new_pod(image, &of_registry, &name, has_own, is_mirrored);
        } else {
            self.of_stored_pod(image, &of_registry, &name, has_own);
        }
    }

    fn candidates(&self, registry: &str) -> Vec<Candidate<'p, 's>> {
        let rules = self.policy.pull_secrets(registry, self.namespace);
        let mut seen = HashSet::new();
        rules
            .filter_map(|rule| {
                let secret = match rule.source() {
                    PullSecretSource::Named(name) => match name.name_in(self.namespace) {
                        Ok(name) if !seen.insert(name.clone()) => return None,
                        Ok(name) => {
                            let known = self.secrets.get(&name);
                            Wanted::Named(name, known)
                        }
                        Err(invalid) => Wanted::BadName(invalid),
                    },
                    PullSecretSource::Discovered => {
                        Wanted::Discovered(self.secrets.docker_configs().map(Iterator::collect))
                    }
                };
                Some(Candidate { rule: rule.place(), secret })
            })
            .collect()
    }

    fn of_new_pod(
        &mut self,
        image: usize,
        of_registry: &RegistrySecrets<'p, 's>,
        name: &str,
        has_own: bool,
        is_mirrored: bool,
    ) {
        let mut is_served = has_own;
        let mut is_unknown = false;
        for Candidate { rule, secret } in &of_registry.candidates {
            match secret {
                Wanted::Named(secret, known) => {
                    let state = state(*known, name);
                    is_served |= state == SecretState::Covers;
                    is_unknown |= state == SecretState::Unknown;
                    self.used(image, of_registry, secret.clone(), state);
                    if matches!(state, SecretState::Covers | SecretState::Unknown) {
                        self.add(*rule, secret.clone());
                    }
                }
                Wanted::BadName(_) => {}
                Wanted::Discovered(None) => is_unknown = true,
                Wanted::Discovered(Some(all)) => {
                    for (secret, known) in all {
                        if covers(known, name) {
                            is_served = true;
                            let secret: Cow<str> = Cow::Owned((*secret).to_owned());
                            self.used(image, of_registry, secret.clone(), SecretState::Covers);
                            self.add(*rule, secret);
                        }
                    }
                }
            }
        }
        // The kubelet reads all of a pod's secrets or none: one that it cannot read takes the good ones along.
        for (number, (own, malformed)) in self.spoiling.clone().into_iter().enumerate() {
            let fault = Fault::Malformed { name: Cow::Owned(own.to_owned()), malformed };
            self.found(image, of_registry, of_registry.candidates.len() + number, fault);
        }
        for (number, Candidate { rule, secret }) in of_registry.candidates.iter().enumerate() {
            if is_served {
                break;
            }
            let fault = match secret {
                Wanted::Named(secret, known) => {
                    if spoils(*known).is_some() && self.listed.contains(&**secret) {
                        continue;
                    }
                    if spoils(*known).is_none() && self.policy.on_missing_pull_secret() == OnMissingPullSecret::Warn {
                        self.add(*rule, secret.clone());
                    }
                    fault(secret.clone(), *known, name)
                }
                Wanted::BadName(invalid) => Fault::Name(invalid.clone()),
                Wanted::Discovered(None) => Fault::Unknown { name: None },
                // Discovery is for every registry; only of a mirror it is plain that somebody meant it.
                Wanted::Discovered(Some(_)) if !is_mirrored => continue,
                Wanted::Discovered(Some(_)) => Fault::NoneDiscovered,
            };
            // Where one could not be looked up, it may be the one that serves: of the others nothing is certain.
            if !is_unknown || matches!(fault, Fault::Unknown { .. }) {
                self.found(image, of_registry, number, fault);
            }
        }
    }

    /// Nothing can be added there any more (U2, U3).
    fn of_stored_pod(&mut self, image: usize, of_registry: &RegistrySecrets<'p, 's>, name: &str, has_own: bool) {
        let mut names = Vec::new();
        let mut discovers = false;
        for Candidate { secret, .. } in &of_registry.candidates {
            match secret {
                Wanted::Named(secret, known) => {
                    if self.listed.contains(&**secret) {
                        self.used(image, of_registry, secret.clone(), state(*known, name));
                    }
                    names.push(secret.clone());
                }
                Wanted::BadName(_) => {}
                Wanted::Discovered(_) => discovers = true,
            }
        }
        // A secret of the pod's that nobody knows may serve.
        let may_have = self.listed.iter().any(|own| self.secrets.get(own) == Known::Unknown);
        if !has_own && !may_have && (!names.is_empty() || discovers) {
            if discovers {
                names.push(Cow::Borrowed("what its namespace has for it"));
            }
            self.found(image, of_registry, 0, Fault::NotListed { names });
        }
    }

    fn used(&mut self, image: usize, of_registry: &RegistrySecrets<'p, 's>, name: Cow<'p, str>, state: SecretState) {
        let at = *self.use_places.entry((of_registry.number, name.clone(), state)).or_insert_with(|| {
            let registry = of_registry.registry.clone();
            self.uses.push(SecretUse { name, registry, state, images: Vec::new() });
            self.uses.len() - 1
        });
        // A secret that is named may be discovered, too.
        let images = &mut self.uses[at].images;
        if images.last() != Some(&image) {
            images.push(image);
        }
    }

    fn add(&mut self, rule: usize, name: Cow<'p, str>) {
        if !self.listed.contains(&*name) && self.added.last().is_none_or(|(_, last)| *last != name) {
            self.added.push((rule, name));
        }
    }

    fn found(&mut self, image: usize, of_registry: &RegistrySecrets<'p, 's>, candidate: usize, fault: Fault<'p>) {
        if matches!(fault, Fault::Unknown { .. }) && !self.secrets.has_cluster() {
            return;
        }
        let at = *self.finding_places.entry((of_registry.number, candidate)).or_insert_with(|| {
            let (registry, namespace) = (of_registry.registry.clone(), self.namespace.to_owned());
            self.findings.push(SecretFinding { registry, images: Vec::new(), namespace, fault });
            self.findings.len() - 1
        });
        self.findings[at].images.push(image);
    }

    fn finish(self) -> PullSecretPlan<'p> {
        let Self { policy, is_creation, uses, mut added, findings, .. } = self;
        added.sort_by_key(|(rule, _)| *rule);
        let mut seen = HashSet::new();
        let added = added.into_iter().map(|(_, name)| name).filter(|name| seen.insert(name.clone())).collect();
        let denies = is_creation
            && policy.on_missing_pull_secret() == OnMissingPullSecret::Deny
            && findings.iter().any(SecretFinding::is_certain);
        PullSecretPlan { uses, added, findings, denies }
    }
}

fn covers(secret: &PullSecret, name: &str) -> bool {
    matches!(secret, PullSecret::DockerConfig(coverage) if coverage.covers(name))
}

/// A secret with which the kubelet pulls nothing at all.
fn spoils(known: Known<'_>) -> Option<Malformed> {
    match known {
        Known::Secret(PullSecret::Malformed(malformed)) if malformed.stops_every_pull() => Some(*malformed),
        _ => None,
    }
}

fn state(known: Known<'_>, name: &str) -> SecretState {
    match known {
        Known::Secret(secret) if covers(secret, name) => SecretState::Covers,
        Known::Secret(PullSecret::DockerConfig(_)) => SecretState::DoesNotCover,
        Known::Secret(PullSecret::OtherType(_)) => SecretState::NotADockerConfig,
        Known::Secret(PullSecret::Malformed(_)) => SecretState::Malformed,
        Known::Missing => SecretState::Missing,
        Known::Unknown => SecretState::Unknown,
    }
}

/// What is wrong with a secret that does not cover the image.
fn fault<'p>(name: Cow<'p, str>, known: Known<'_>, image: &str) -> Fault<'p> {
    match known {
        Known::Secret(PullSecret::DockerConfig(coverage)) => {
            Fault::DoesNotCover { name, image: image.to_owned(), keys: keys(coverage) }
        }
        Known::Secret(PullSecret::OtherType(secret_type)) => {
            Fault::NotADockerConfig { name, secret_type: secret_type.to_string() }
        }
        Known::Secret(PullSecret::Malformed(malformed)) => Fault::Malformed { name, malformed: *malformed },
        Known::Missing => Fault::Missing { name },
        Known::Unknown => Fault::Unknown { name: Some(name) },
    }
}

/// The first keys of a secret, for a message.
fn keys(coverage: &Coverage) -> String {
    let all = coverage.keys();
    let more = all.len().saturating_sub(MOST_KEYS);
    let mut keys: Vec<String> = all.take(MOST_KEYS).map(|key| Escaped::cut(key, MOST_NAME_CHARS).to_string()).collect();
    if more > 0 {
        keys.push(format!("{more} more"));
    }
    if keys.is_empty() { "no entry".to_owned() } else { keys.join(", ") }
}
