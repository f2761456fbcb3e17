//! What is known of a namespace's pull secrets while one review is decided (S3, S5): what each covers, never a credential.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::keyring::PullSecret;

/// The pull secrets of one namespace, as far as they are known; one request's snapshot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PullSecrets {
    secrets: Arc<SecretsByName>,
    scope: Arc<Scope>,
}

/// The known secrets of one namespace.
pub type SecretsByName = BTreeMap<Arc<str>, Arc<PullSecret>>;

/// What was looked for, in every namespace: only of that can be said that it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The names that are looked for, and whether each has been listed completely.
    pub names: BTreeMap<String, bool>,
    /// Whether all secrets of the type `kubernetes.io/dockerconfigjson` have been listed.
    pub all_docker_configs: bool,
    /// Whether there is a cluster to look in.
    pub has_cluster: bool,
}

/// What is known of the secret of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'s> {
    /// It is there.
    Secret(&'s PullSecret),
    /// It is not there.
    Missing,
    /// Nobody could look.
    Unknown,
}

impl PullSecrets {
    /// Without a cluster: nobody could look.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// `secrets` are those of one namespace; `scope` says what their absence means.
    #[must_use]
    pub fn new(secrets: Arc<SecretsByName>, scope: Arc<Scope>) -> Self {
        Self { secrets, scope }
    }

    /// Takes in what was just read of one name: the secret, or that there is none.
    pub fn put(&mut self, name: &str, secret: Option<Arc<PullSecret>>) {
        let secrets = Arc::make_mut(&mut self.secrets);
        match secret {
            Some(secret) => drop(secrets.insert(name.into(), secret)),
            None => drop(secrets.remove(name)),
        }
    }

    /// Takes in that nobody may look at this name any more: what was seen of it can have changed since.
    pub fn unknown_from_now(&mut self, name: &str) {
        Arc::make_mut(&mut self.secrets).remove(name);
        Arc::make_mut(&mut self.scope).names.insert(name.to_owned(), false);
    }

    /// Takes in that nobody may look for docker configs any more.
    pub fn discover_no_more(&mut self) {
        Arc::make_mut(&mut self.scope).all_docker_configs = false;
    }

    /// The secret of this name.
    ///
    /// A name of which only the docker configs were listed is missing when it is not among them: a secret of the older
    /// type, under a name made for the namespace, is not seen.
    #[must_use]
    pub fn get(&self, name: &str) -> Known<'_> {
        match (self.secrets.get(name), self.scope.names.get(name)) {
            (Some(secret), _) => Known::Secret(secret),
            (None, Some(true)) => Known::Missing,
            (None, Some(false)) => Known::Unknown,
            (None, None) if self.scope.all_docker_configs => Known::Missing,
            (None, None) => Known::Unknown,
        }
    }

    /// Whether there is a cluster to look in: without one, that nothing is known is nothing to warn of.
    #[must_use]
    pub fn has_cluster(&self) -> bool {
        self.scope.has_cluster
    }

    /// Every secret of a docker config's type, by name, malformed ones too; `None` where they could not be looked up.
    #[must_use]
    pub fn docker_configs(&self) -> Option<impl Iterator<Item = (&str, &PullSecret)>> {
        self.scope.all_docker_configs.then(|| {
            self.secrets
                .iter()
                .filter(|(_, secret)| !matches!(***secret, PullSecret::OtherType(_)))
                .map(|(name, secret)| (&**name, &**secret))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::DOCKER_CONFIG_JSON;

    fn docker_config() -> Arc<PullSecret> {
        Arc::new(PullSecret::read(DOCKER_CONFIG_JSON, |_| Some(br#"{"auths": {"harbor.corp:5000": {}}}"#)))
    }

    fn snapshot(names: &[(&str, bool)], all_docker_configs: bool) -> PullSecrets {
        let opaque = Arc::new(PullSecret::read("Opaque", |_| None));
        let secrets = SecretsByName::from([("there".into(), docker_config()), ("opaque".into(), opaque)]);
        let names = names.iter().map(|(name, listed)| ((*name).to_owned(), *listed)).collect();
        PullSecrets::new(Arc::new(secrets), Arc::new(Scope { names, all_docker_configs, has_cluster: true }))
    }

    #[test]
    fn s6_only_what_was_listed_can_be_missing() {
        let secrets = snapshot(&[("there", true), ("listed", true), ("not-yet", false)], false);
        assert_eq!(secrets.get("there"), Known::Secret(&docker_config()));
        assert_eq!(secrets.get("listed"), Known::Missing);
        assert_eq!(secrets.get("not-yet"), Known::Unknown);
        assert_eq!(secrets.get("nobody-looked"), Known::Unknown);
        assert_eq!(PullSecrets::unknown().get("there"), Known::Unknown);
    }

    #[test]
    fn s5_the_wide_watch_answers_for_every_name_but_those_with_a_watch_of_their_own() {
        let secrets = snapshot(&[("not-yet", false)], true);
        assert_eq!(secrets.get("anything"), Known::Missing);
        assert_eq!(secrets.get("not-yet"), Known::Unknown);
    }

    #[test]
    fn s6_what_was_just_read_goes_before_what_was_known() {
        let before = snapshot(&[("there", true), ("listed", true)], false);
        let mut after = before.clone();
        after.put("listed", Some(docker_config()));
        after.put("there", None);
        assert_eq!((after.get("listed"), after.get("there")), (Known::Secret(&docker_config()), Known::Missing));
        assert_eq!((before.get("there"), before.get("listed")), (Known::Secret(&docker_config()), Known::Missing));
    }

    #[test]
    fn s6_what_nobody_may_look_at_any_more_is_unknown_and_not_missing() {
        let before = snapshot(&[("there", true), ("listed", true)], true);
        let mut after = before.clone();
        for name in ["there", "listed", "made-for-a-namespace"] {
            after.unknown_from_now(name);
            assert_eq!(after.get(name), Known::Unknown, "{name}");
        }
        assert_eq!((after.get("another"), after.docker_configs().is_some()), (Known::Missing, true));
        after.discover_no_more();
        assert_eq!((after.get("another"), after.docker_configs().is_none()), (Known::Unknown, true));
        // Another review's snapshot is its own.
        assert_eq!((before.get("there"), before.get("listed")), (Known::Secret(&docker_config()), Known::Missing));
        assert!(before.docker_configs().is_some());
    }

    #[test]
    fn s5_docker_configs_are_found_only_where_all_were_listed() {
        assert!(snapshot(&[("there", true)], false).docker_configs().is_none());
        assert!(PullSecrets::unknown().docker_configs().is_none());
        let secrets = snapshot(&[], true);
        let names: Vec<_> = secrets.docker_configs().unwrap().map(|(name, _)| name).collect();
        assert_eq!(names, ["there"]);
    }
}
