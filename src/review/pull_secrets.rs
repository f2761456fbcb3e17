//! Which pull secrets go with a pod, and which of its images none of them serves (S1 to S6, U2, U3).
//!
//! Each image is taken by the registry that the kubelet will really pull it from, after rewriting. The policy names the
//! secrets for that registry; what is known of the namespace's secrets says whether the kubelet would find a credential
//! in them. That a secret is not known to be there is not the same as knowing that it is not.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::image::{Escaped, Reference, Registry};
use crate::keyring::{Coverage, DOCKER_CONFIG_JSON, Malformed, PullSecret};
use crate::policy::{InvalidSecretName, OnMissingPullSecret, Policy, PullSecretSource, Rewrite, Route};

use super::Change;
use super::numbered::Numbered;
use super::plan::{Kept, Outcome, PlannedImage};
use super::pod::Pod;
use super::secrets::{Known, PullSecrets};
use super::trust::PulledFrom;

/// The most characters of a registry, repository or key in a message.
const MOST_NAME_CHARS: usize = 80;

/// The most characters of a registry in a command, and of a foreign secret's name: as many as a DNS name has.
const MOST_HOST_CHARS: usize = 253;

/// How often images are matched against secrets for one pod: a tenth of a second's work.
const MOST_MATCHES: usize = 500_000;

/// The most keys of a secret that a message names.
const MOST_KEYS: usize = 5;

/// The pull secrets for one pod.
#[derive(Debug, Default)]
pub struct PullSecretPlan<'p> {
    /// What the policy has for the pod's images: each secret, registry and state once.
    pub uses: SmallVec<[SecretUse<'p>; 2]>,
    /// The names that the pod gets, in policy order (S2).
    pub added: SmallVec<[Cow<'p, str>; 2]>,
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
                Fault::Spoiled { name, .. } => drop(doubt.names.insert(name.clone())),
                Fault::NoneDiscovered => doubt.discovered = true,
                Fault::Unknown { .. } | Fault::TooMany | Fault::Name(_) | Fault::NotListed { .. } => {}
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
    pub registry: Registry,
    /// What is known of it.
    pub state: SecretState,
    /// The images, as places in the plan's.
    pub images: SmallVec<[usize; 4]>,
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
    pub registry: Registry,
    /// The images, as places in the plan's.
    pub images: Vec<usize>,
    /// The registry in the letters of the first image's author: those the kubelet compares with.
    host: String,
    namespace: String,
    /// Whether the pod lists secrets that nobody watches: one of them may serve.
    may_be_served: bool,
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
    /// The pod lists it, and the kubelet cannot read it.
    Spoiled {
        name: String,
        malformed: Malformed,
    },
    Unknown {
        name: Option<Cow<'p, str>>,
    },
    /// There is more to match than there is time for.
    TooMany,
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
    /// Whether it is known that no secret serves the images. Else nobody could look, or looked.
    pub fn is_certain(&self) -> bool {
        match self.fault {
            Fault::Unknown { .. } | Fault::TooMany => false,
            Fault::Spoiled { .. } => true,
            _ => !self.may_be_served,
        }
    }

    /// The state to count where the finding is about no secret of its own; those that are, are among the plan's uses.
    pub fn state_of_no_secret(&self) -> Option<SecretState> {
        match self.fault {
            Fault::NoneDiscovered | Fault::Name(_) | Fault::NotListed { .. } => Some(SecretState::Missing),
            Fault::Unknown { name: None } | Fault::TooMany => Some(SecretState::Unknown),
            _ => None,
        }
    }

    /// As it is said of one of the images.
    pub(super) fn of_image<'f>(&'f self, planned: &'f PlannedImage<'_, '_>) -> impl fmt::Display + 'f {
        OfImage { finding: self, name: pulled(planned).map(|pulled| pulled.name.text()) }
    }

    /// `of_image` is the name of the image that it is said of; without it, it is said of all.
    fn write(&self, f: &mut fmt::Formatter<'_>, of_image: Option<&str>) -> fmt::Result {
        let registry = Escaped::cut(self.registry.as_str(), MOST_NAME_CHARS);
        let namespace = Escaped::cut(&self.namespace, MOST_NAME_CHARS);
        let create = |name: &str| {
            let host = Escaped::cut(&self.host, MOST_HOST_CHARS);
            // A shell takes brackets for a pattern.
            let quote = if self.host.starts_with('[') { "'" } else { "" };
            format!(
                "kubectl -n {namespace} create secret docker-registry {name} --docker-server={quote}{host}{quote} \
                 --docker-username=USER --docker-password=PASSWORD"
            )
        };
        // The type of a secret cannot be changed, nor can an immutable one: it is made anew.
        let replace = |name: &str| format!("kubectl -n {namespace} delete secret {name} && {}", create(name));
        let none = if self.may_be_served {
            format!("no pull secret for {registry} is known, and the pod's own are not watched")
        } else {
            format!("no pull secret for {registry}")
        };
        match &self.fault {
            Fault::Missing { name } => write!(f, "{none}: {name} is missing in {namespace}; {}", create(name)),
            Fault::DoesNotCover { name, image, keys } => write!(
                f,
                "{none}: {name} in {namespace} does not cover {}, it has {keys} (what follows replaces that); {}",
                Escaped::cut(of_image.unwrap_or(image), MOST_NAME_CHARS),
                replace(name)
            ),
            Fault::NotADockerConfig { name, secret_type } => write!(
                f,
                "{none}: {name} in {namespace} is of type {}, and the kubelet takes {DOCKER_CONFIG_JSON}; {}",
                Escaped::cut(secret_type, MOST_NAME_CHARS),
                replace(name)
            ),
            Fault::Malformed { name, malformed } => {
                let left_out = if malformed.stops_every_pull() {
                    " (the kubelet pulls nothing for a pod that lists it, so it is not added)"
                } else {
                    ""
                };
                write!(f, "{none}: {name} in {namespace} is malformed, {malformed}{left_out}; {}", replace(name))
            }
            Fault::Spoiled { name, malformed } => write!(
                f,
                "the pod lists the pull secret {}, which is malformed in {namespace}, {malformed}: the kubelet then pulls \
                 nothing for the pod; mend the secret, or take it out of the pod and its service account",
                Escaped::cut(name, MOST_HOST_CHARS)
            ),
            Fault::Unknown { name: Some(name) } => {
                write!(f, "the pull secret {name} for {registry} could not be checked in {namespace}; /readyz says why")
            }
            Fault::Unknown { name: None } => {
                write!(f, "the pull secrets for {registry} could not be looked up in {namespace}; /readyz says why")
            }
            Fault::TooMany => write!(
                f,
                "the pull secrets for {registry} were not checked to the end: the pod has more images, and the pod or \
                 {namespace} more secrets, than can be matched in time"
            ),
            Fault::NoneDiscovered => write!(f, "{none}: none in {namespace} covers it; {}", create("NAME")),
            Fault::Name(invalid) => write!(f, "{none}: {invalid}"),
            Fault::NotListed { names } => write!(
                f,
                "the pod has no pull secret for {registry}, and none can be added to a pod that is there; \
                 one that is created anew in enforce mode gets {}",
                names.join(", ")
            ),
        }
    }
}

/// A sentence for people: the registry, the secret, the namespace, what is wrong, and the command that mends it.
impl fmt::Display for SecretFinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

struct OfImage<'f> {
    finding: &'f SecretFinding<'f>,
    name: Option<Cow<'f, str>>,
}

impl fmt::Display for OfImage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.finding.write(f, self.name.as_deref())
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
    let mut planner = Planner::new(policy, namespace, secrets, matches!(change, Change::Create));
    planner.list(pod);
    let mut registries = RegistriesOfPod::default();
    for (place, planned) in images.iter().enumerate() {
        if let Some(Pulled { from, name }) = pulled(planned) {
            let host = from.host();
            let of = registries.of(from, &mut planner);
            planner.image(place, of, host, name);
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

/// What the kubelet will pull for an image.
struct Pulled<'i> {
    from: PulledFrom<'i>,
    name: Name<'i>,
}

/// What is compared with the keys of a secret: the image without tag and digest, an author's letters as they are.
#[derive(Clone, Copy)]
enum Name<'i> {
    Rewritten(&'i Rewrite),
    Kept(Reference<'i>),
}

impl<'i> Name<'i> {
    fn text(self) -> Cow<'i, str> {
        match self {
            Self::Rewritten(to) => Cow::Borrowed(to.name()),
            Self::Kept(image) => Cow::Owned([image.host(), "/", image.library(), image.path()].concat()),
        }
    }
}

/// Nothing where an image is left alone entirely, or cannot be read (M9, M10, S1). Other than for trust, what is never pulled counts,
/// and at a mirror's endpoint it is the author's letters that are compared.
fn pulled<'i>(planned: &'i PlannedImage<'_, 'i>) -> Option<Pulled<'i>> {
    match &planned.outcome {
        Outcome::Rewritten { to, mirror, .. } => {
            Some(Pulled { from: PulledFrom::Endpoint(mirror.endpoint()), name: Name::Rewritten(to) })
        }
        Outcome::Kept(Kept::IgnoredText | Kept::Routed(Route::IgnoredImage { .. })) => None,
        Outcome::Kept(_) => {
            let image = planned.reference?;
            let from = PulledFrom::Named(image, image.registry_name());
            Some(Pulled { from, name: Name::Kept(image) })
        }
        Outcome::Unreadable(_) | Outcome::Unmirrorable { .. } => None,
    }
}

/// A pod's author writes as many images and names of secrets as fit into a body, and fills a namespace with secrets: what
/// is asked once is not asked for each image, and what must be is counted.
struct Planner<'p, 's> {
    policy: &'p Policy,
    namespace: &'s str,
    secrets: &'s PullSecrets,
    is_creation: bool,
    /// What the pod has already, from its author or its service account.
    listed: BTreeSet<&'s str>,
    /// Of these, what is known to cover something.
    own: Vec<&'s Coverage>,
    /// Of these, what the kubelet cannot read: the first is enough to say that nothing is pulled.
    spoiling: Option<(&'s str, Malformed)>,
    /// Whether there is one among them that nobody knows.
    has_unknown: bool,
    /// The names of secrets that came up; what follows knows them by their numbers.
    names: Numbered<Cow<'p, str>>,
    /// Every docker config of the namespace, asked for once; none where they could not be looked up.
    discovered: Option<Option<Discovered<'s>>>,
    /// How often an image was matched against a secret.
    matches: usize,
    uses: SmallVec<[SecretUse<'p>; 2]>,
    /// The registry, name and state of each.
    use_numbers: Numbered<(usize, usize, SecretState)>,
    /// The names that the pod gets, and the first of the rules that ask for each.
    added: Numbered<usize>,
    added_by: SmallVec<[usize; 2]>,
    findings: Vec<SecretFinding<'p>>,
    /// The registry of each, and what is said of it.
    finding_numbers: Numbered<(usize, Topic)>,
}

/// The registries that the images of a pod are pulled from; the policy is asked for each once.
#[derive(Default)]
struct RegistriesOfPod<'s> {
    numbers: Numbered<Registry>,
    registries: SmallVec<[RegistrySecrets<'s>; 2]>,
}

impl<'s> RegistriesOfPod<'s> {
    fn of(&mut self, pulled: PulledFrom<'_>, planner: &mut Planner<'_, 's>) -> &RegistrySecrets<'s> {
        let number = self.numbers.get(pulled.as_str()).unwrap_or_else(|| {
            let candidates = planner.candidates(pulled.as_str());
            let registry = pulled.into_registry();
            let number = self.numbers.push(registry.clone());
            self.registries.push(RegistrySecrets { number, registry, candidates });
            number
        });
        &self.registries[number]
    }
}

/// An image, the registry that it is pulled from, in its author's letters, too, and its name without tag and digest.
#[derive(Clone, Copy)]
struct At<'r, 's> {
    image: usize,
    of: &'r RegistrySecrets<'s>,
    host: &'r str,
    name: &'r str,
}

/// A registry, and what the policy has for it.
struct RegistrySecrets<'s> {
    /// Which of the pod's it is, from 0.
    number: usize,
    registry: Registry,
    candidates: SmallVec<[Candidate<'s>; 2]>,
}

struct Candidate<'s> {
    rule: usize,
    secret: Wanted<'s>,
}

enum Wanted<'s> {
    Named {
        name: usize,
        known: Known<'s>,
    },
    BadName(InvalidSecretName),
    /// `is_meant`: it is plain that somebody wanted one for this registry, which is a mirror's or is named by the rule.
    Discovered {
        all: Option<Discovered<'s>>,
        is_meant: bool,
    },
}

/// Docker configs, by the places of their names.
type Discovered<'s> = Rc<[(usize, &'s PullSecret)]>;

/// What one finding on a registry is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Topic {
    Candidate(usize),
    Spoiled,
    NotListed,
    TooMany,
}

impl<'p, 's> Planner<'p, 's> {
    fn new(policy: &'p Policy, namespace: &'s str, secrets: &'s PullSecrets, is_creation: bool) -> Self {
        Self {
            policy,
            namespace,
            secrets,
            is_creation,
            listed: BTreeSet::new(),
            own: Vec::new(),
            spoiling: None,
            has_unknown: false,
            names: Numbered::default(),
            discovered: None,
            matches: 0,
            uses: SmallVec::new(),
            use_numbers: Numbered::default(),
            added: Numbered::default(),
            added_by: SmallVec::new(),
            findings: Vec::new(),
            finding_numbers: Numbered::default(),
        }
    }

    fn list(&mut self, pod: &'s Pod<'_>) {
        self.listed = pod.pull_secret_names().collect();
        for own in &self.listed {
            match self.secrets.get(own) {
                Known::Secret(PullSecret::DockerConfig(coverage)) => self.own.push(coverage),
                Known::Unknown => self.has_unknown = true,
                known => self.spoiling = self.spoiling.or_else(|| Some((own, spoils(known)?))),
            }
        }
    }

    fn image(&mut self, image: usize, of: &RegistrySecrets<'s>, host: &str, name: Name<'_>) {
        if of.candidates.is_empty() {
            return;
        }
        let all_discovered = self.discovered.iter().flatten().map(|all| all.len()).sum::<usize>();
        self.matches += self.own.len() + of.candidates.len() + all_discovered;
        // It is put together only for those that are matched.
        let text = if self.matches > MOST_MATCHES { Cow::default() } else { name.text() };
        let at = At { image, of, host, name: &text };
        if self.matches > MOST_MATCHES {
            return self.found(at, Topic::TooMany, || Fault::TooMany);
        }
        let has_own = self.own.iter().any(|coverage| coverage.covers(at.name));
        if self.is_creation {
            self.of_new_pod(at, has_own);
        } else {
            self.of_stored_pod(at, has_own);
        }
        // The kubelet reads all of a pod's secrets or none: one that it cannot read takes the good ones along.
        if let Some((own, malformed)) = self.spoiling {
            self.found(at, Topic::Spoiled, || Fault::Spoiled { name: own.to_owned(), malformed });
        }
    }

    fn candidates(&mut self, registry: &str) -> SmallVec<[Candidate<'s>; 2]> {
        let rules = self.policy.pull_secrets(registry, self.namespace);
        let mut seen = Numbered::default();
        let mut candidates = SmallVec::new();
        for rule in rules {
            let secret = match rule.source() {
                PullSecretSource::Named(name) => match name.name_in(self.namespace) {
                    Ok(name) => {
                        let known = self.secrets.get(&name);
                        let name = self.names.number(name);
                        if seen.get(&name).is_some() {
                            continue;
                        }
                        seen.push(name);
                        Wanted::Named { name, known }
                    }
                    Err(invalid) => Wanted::BadName(invalid),
                },
                PullSecretSource::Discovered => {
                    let is_meant = rule.names_registries() || self.policy.is_endpoint(registry);
                    Wanted::Discovered { all: self.discovered(), is_meant }
                }
            };
            candidates.push(Candidate { rule: rule.place(), secret });
        }
        candidates
    }

    fn discovered(&mut self) -> Option<Discovered<'s>> {
        if self.discovered.is_none() {
            let secrets = self.secrets;
            let all = secrets.docker_configs().map(|all| {
                all.map(|(name, secret)| (self.names.number(Cow::Owned(name.to_owned())), secret)).collect()
            });
            self.discovered = Some(all);
        }
        self.discovered.clone().flatten()
    }

    fn of_new_pod(&mut self, at: At<'_, 's>, has_own: bool) {
        let mut is_served = has_own;
        let mut is_unknown = false;
        for Candidate { rule, secret } in &at.of.candidates {
            match secret {
                Wanted::Named { name: secret, known } => {
                    let state = state(*known, at.name);
                    is_served |= state == SecretState::Covers;
                    is_unknown |= state == SecretState::Unknown;
                    self.used(at, *secret, state);
                    if matches!(state, SecretState::Covers | SecretState::Unknown) {
                        self.add(*rule, *secret);
                    }
                }
                Wanted::BadName(_) => {}
                Wanted::Discovered { all: None, .. } => is_unknown = true,
                Wanted::Discovered { all: Some(all), .. } => {
                    for &(secret, _) in all.iter().filter(|(_, known)| covers(known, at.name)) {
                        is_served = true;
                        self.used(at, secret, SecretState::Covers);
                        self.add(*rule, secret);
                    }
                }
            }
        }
        if is_served {
            return;
        }
        for (number, Candidate { rule, secret }) in at.of.candidates.iter().enumerate() {
            if let Wanted::Named { name: secret, known } = secret
                && self.policy.on_missing_pull_secret() == OnMissingPullSecret::Warn
                && spoils(*known).is_none()
            {
                self.add(*rule, *secret);
            }
            self.unserved(at, number, is_unknown);
        }
    }

    /// Nothing can be added there any more (U2, U3).
    fn of_stored_pod(&mut self, at: At<'_, 's>, has_own: bool) {
        // A secret of the pod's that nobody knows may serve.
        if has_own || self.has_unknown {
            for Candidate { secret, .. } in &at.of.candidates {
                if let Wanted::Named { name: secret, known } = secret
                    && self.is_listed(*secret)
                {
                    self.used(at, *secret, state(*known, at.name));
                }
            }
            return;
        }
        let mut would_serve = Vec::new();
        for Candidate { secret, .. } in &at.of.candidates {
            match secret {
                Wanted::Named { name: secret, known } => {
                    let state = state(*known, at.name);
                    if matches!(state, SecretState::Covers | SecretState::Unknown) {
                        would_serve.push(*secret);
                    } else {
                        self.used(at, *secret, state);
                    }
                }
                Wanted::Discovered { all: Some(all), .. } => {
                    would_serve
                        .extend(all.iter().filter(|(_, known)| covers(known, at.name)).map(|(secret, _)| *secret));
                }
                Wanted::Discovered { all: None, .. } | Wanted::BadName(_) => {}
            }
        }
        if would_serve.is_empty() {
            (0..at.of.candidates.len()).for_each(|number| self.unserved(at, number, false));
        } else {
            let names = would_serve.into_iter().map(|name| self.names.keys()[name].clone()).collect();
            self.found(at, Topic::NotListed, || Fault::NotListed { names });
        }
    }

    /// Says why one of the policy's secrets does not serve an image that none serves. Where one of them could not be looked
    /// up, it may be the one that does: of the others nothing is certain, and nothing is said.
    fn unserved(&mut self, at: At<'_, 's>, number: usize, is_unknown: bool) {
        let topic = Topic::Candidate(number);
        match &at.of.candidates[number].secret {
            // Without a cluster there is nobody to be warned of what nobody could look up.
            Wanted::Named { known: Known::Unknown, .. } | Wanted::Discovered { all: None, .. }
                if !self.secrets.has_cluster() => {}
            Wanted::Named { known, .. } if is_unknown && *known != Known::Unknown => {}
            // That is said by itself.
            Wanted::Named { name: secret, known } if spoils(*known).is_some() && self.is_listed(*secret) => {}
            Wanted::Named { name: secret, known } => {
                let secret = self.names.keys()[*secret].clone();
                self.found(at, topic, || fault(secret, *known, at.name));
            }
            Wanted::Discovered { all: None, .. } => self.found(at, topic, || Fault::Unknown { name: None }),
            _ if is_unknown => {}
            Wanted::BadName(invalid) => self.found(at, topic, || Fault::Name(invalid.clone())),
            Wanted::Discovered { all: Some(_), is_meant: true } => self.found(at, topic, || Fault::NoneDiscovered),
            // Discovery is for every registry, and most public ones need no secret.
            Wanted::Discovered { all: Some(_), is_meant: false } => {}
        }
    }

    fn is_listed(&self, name: usize) -> bool {
        self.listed.contains(&*self.names.keys()[name])
    }

    fn used(&mut self, at: At<'_, 's>, name: usize, state: SecretState) {
        let number = self.use_numbers.number((at.of.number, name, state));
        if number == self.uses.len() {
            let (name, registry) = (self.names.keys()[name].clone(), at.of.registry.clone());
            self.uses.push(SecretUse { name, registry, state, images: SmallVec::new() });
        }
        // A secret that is named may be discovered, too.
        let images = &mut self.uses[number].images;
        if images.last() != Some(&at.image) {
            images.push(at.image);
        }
    }

    fn add(&mut self, rule: usize, name: usize) {
        let number = self.added.number(name);
        match self.added_by.get_mut(number) {
            Some(first) => *first = rule.min(*first),
            None => self.added_by.push(rule),
        }
    }

    fn found(&mut self, at: At<'_, 's>, topic: Topic, fault: impl FnOnce() -> Fault<'p>) {
        // A pod that can pull nothing is one thing to say, whatever the registries.
        let number = if topic == Topic::Spoiled { 0 } else { at.of.number };
        let number = self.finding_numbers.number((number, topic));
        if number == self.findings.len() {
            self.findings.push(SecretFinding {
                registry: at.of.registry.clone(),
                images: Vec::new(),
                host: at.host.to_owned(),
                namespace: self.namespace.to_owned(),
                may_be_served: self.has_unknown,
                fault: fault(),
            });
        }
        self.findings[number].images.push(at.image);
    }

    fn finish(self) -> PullSecretPlan<'p> {
        let by = self.added.keys().iter().zip(&self.added_by).filter(|(name, _)| !self.is_listed(**name));
        let mut added: SmallVec<[_; 2]> = by.map(|(name, rule)| (*rule, &self.names.keys()[*name])).collect();
        added.sort();
        let denies = self.is_creation
            && self.policy.on_missing_pull_secret() == OnMissingPullSecret::Deny
            && self.findings.iter().any(SecretFinding::is_certain);
        let added = added.into_iter().map(|(_, name)| name.clone()).collect();
        PullSecretPlan { uses: self.uses, added, findings: self.findings, denies }
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
