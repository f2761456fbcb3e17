//! What the watches of Secrets know: one writer, many readers; whole lists swapped in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::keyring::{DOCKER_CONFIG_JSON, PullSecret};
use crate::review::{PullSecrets, Scope, SecretsByName};

use super::super::standing::{Access, with_names};
use super::watched::WatchedSecret;

/// The pull secrets of every namespace, as far as they are known. Without a writer it knows of nothing.
#[derive(Debug, Default)]
pub struct SecretStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    namespaces: Namespaces,
    scope: Arc<Scope>,
}

type Namespaces = HashMap<Arc<str>, Arc<SecretsByName>>;

impl SecretStore {
    /// What is known of a namespace. Cheap: to be taken once a review.
    pub fn namespace(&self, namespace: &str) -> PullSecrets {
        let state = self.read();
        let secrets = state.namespaces.get(namespace).map(Arc::clone).unwrap_or_default();
        PullSecrets::new(secrets, Arc::clone(&state.scope))
    }

    // The state is whole after every statement of the writer: a panic elsewhere does not spoil it.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one watch looks for, in every namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Selection {
    /// The Secrets of this name, of any type. They are this watch's alone.
    Named(Arc<str>),
    /// All of the type `kubernetes.io/dockerconfigjson`.
    DockerConfigs,
}

impl Selection {
    /// The field selector.
    pub(super) fn fields(&self) -> String {
        match self {
            Self::Named(name) => format!("metadata.name={name}"),
            Self::DockerConfigs => format!("type={DOCKER_CONFIG_JSON}"),
        }
    }

    /// So many Secrets are listed at a time. A page is in memory as a whole, twice while it is copied, and a Secret may
    /// have 1 MiB, 1.4 MB in base64: 40 are 112 MB, of the 256 MiB of the Deployment.
    ///
    /// Of all docker configs, one author alone can fill every page with large ones. Of one name a namespace has one: that
    /// takes as many namespaces, and there may be ten thousand, of which each page costs 2 ms.
    pub(super) fn page(&self) -> u32 {
        match self {
            Self::Named(_) => 250,
            Self::DockerConfigs => 40,
        }
    }
}

impl Access for Selection {
    const ROLE: &'static str = "a ClusterRole";

    fn words<'s>(selections: impl Iterator<Item = &'s Self>) -> Option<String> {
        let (mut names, mut all) = (Vec::new(), None);
        for selection in selections {
            match selection {
                Self::Named(name) => names.push(&**name),
                Self::DockerConfigs => all = Some("all secrets".to_owned()),
            }
        }
        match (with_names("secrets", names), all) {
            (Some(named), Some(all)) => Some(format!("{named}, and of {all}")),
            (named, all) => named.or(all),
        }
    }
}

/// A Secret, in little memory: ten thousand namespaces with the same one hold one.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) secret: Arc<PullSecret>,
}

/// The one writer of a [`SecretStore`].
#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<SecretStore>,
    texts: Interned<str>,
    secrets: Interned<PullSecret>,
}

impl Writer {
    pub(super) fn new(store: Arc<SecretStore>) -> Self {
        Self { store, texts: Interned::default(), secrets: Interned::default() }
    }

    /// A Secret as it is kept.
    pub(super) fn seen(&mut self, secret: WatchedSecret) -> Seen {
        let (namespace, name) = secret.place();
        let (namespace, name) = (self.texts.of(namespace), self.texts.of(name));
        Seen { namespace, name, secret: self.secrets.of(secret.content) }
    }

    /// Whether just this is known already.
    pub(super) fn knows(&self, seen: &Seen) -> bool {
        let state = self.store.read();
        state.namespaces.get(&seen.namespace).and_then(|secrets| secrets.get(&seen.name)) == Some(&seen.secret)
    }

    /// From now on exactly this is looked for. What was known of anything else is dropped; what is new is not listed yet.
    pub(super) fn look_for(&mut self, selections: &BTreeSet<Selection>) {
        let old = Arc::clone(&self.store.read().scope);
        let mut scope = Scope {
            names: Default::default(),
            all_docker_configs: old.all_docker_configs && selections.contains(&Selection::DockerConfigs),
            has_cluster: true,
        };
        for selection in selections {
            if let Selection::Named(name) = selection {
                scope.names.insert(name.to_string(), old.names.get(&**name).copied().unwrap_or(false));
            }
        }
        let others = selections.contains(&Selection::DockerConfigs);
        let dropped = |name: &str| match old.names.contains_key(name) {
            true => !scope.names.contains_key(name),
            false => !others && !scope.names.contains_key(name),
        };
        let mut namespaces = self.store.read().namespaces.clone();
        retain(&mut namespaces, |_, name| !dropped(name));
        *self.store.write() = State { namespaces, scope: Arc::new(scope) };
    }

    /// A whole list: all that there is of a selection.
    pub(super) fn list(&mut self, selection: &Selection, seen: Vec<Seen>) {
        let mut namespaces = self.store.read().namespaces.clone();
        let own = self.own(selection);
        let listed: HashSet<(&str, &str)> = seen.iter().map(|seen| (&*seen.namespace, &*seen.name)).collect();
        retain(&mut namespaces, |namespace, name| !own(name) || listed.contains(&(namespace, name)));
        drop(listed);
        for seen in seen.into_iter().filter(|seen| own(&seen.name)) {
            insert(&mut namespaces, seen);
        }
        let scope = self.scope_with(selection, true);
        *self.store.write() = State { namespaces, scope };
    }

    /// A Secret is there, new or changed.
    pub(super) fn set(&mut self, selection: &Selection, seen: Seen) {
        if self.own(selection)(&seen.name) {
            insert(&mut self.store.write().namespaces, seen);
        }
    }

    /// A Secret is gone.
    pub(super) fn remove(&mut self, selection: &Selection, namespace: &str, name: &str) {
        if !self.own(selection)(name) {
            return;
        }
        let namespaces = &mut self.store.write().namespaces;
        if let Some(secrets) = namespaces.get_mut(namespace) {
            Arc::make_mut(secrets).remove(name);
            if secrets.is_empty() {
                namespaces.remove(namespace);
            }
        }
    }

    /// Nobody may look any more: nothing is known of the selection.
    pub(super) fn forget(&mut self, selection: &Selection) {
        let mut namespaces = self.store.read().namespaces.clone();
        let own = self.own(selection);
        retain(&mut namespaces, |_, name| !own(name));
        let scope = self.scope_with(selection, false);
        *self.store.write() = State { namespaces, scope };
    }

    /// Whether a name is of this selection's making: what has a watch of its own is not of the wide one.
    fn own(&self, selection: &Selection) -> impl Fn(&str) -> bool + use<> {
        let scope = Arc::clone(&self.store.read().scope);
        let selection = selection.clone();
        move |name| match &selection {
            Selection::Named(own) => **own == *name,
            Selection::DockerConfigs => !scope.names.contains_key(name),
        }
    }

    fn scope_with(&self, selection: &Selection, listed: bool) -> Arc<Scope> {
        let mut scope = Scope::clone(&self.store.read().scope);
        match selection {
            Selection::Named(name) => drop(scope.names.insert(name.to_string(), listed)),
            Selection::DockerConfigs => scope.all_docker_configs = listed,
        }
        Arc::new(scope)
    }
}

fn insert(namespaces: &mut Namespaces, seen: Seen) {
    let Seen { namespace, name, secret } = seen;
    let secrets = namespaces.entry(namespace).or_default();
    if secrets.get(&name) != Some(&secret) {
        Arc::make_mut(secrets).insert(name, secret);
    }
}

fn retain(namespaces: &mut Namespaces, keep: impl Fn(&str, &str) -> bool) {
    namespaces.retain(|namespace, secrets| {
        if !secrets.keys().all(|name| keep(namespace, name)) {
            Arc::make_mut(secrets).retain(|name, _| keep(namespace, name));
        }
        !secrets.is_empty()
    });
}

/// Equal values are held once, for as long as somebody else holds them.
#[derive(Debug)]
struct Interned<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// The size at which those that nobody holds are dropped.
    most: usize,
}

impl<T: Eq + Hash + ?Sized> Interned<T> {
    fn of(&mut self, value: impl Into<Arc<T>>) -> Arc<T> {
        let value = value.into();
        if let Some(known) = self.values.get(&value) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.most {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.most = (self.values.len() * 2).max(64);
        }
        self.values.insert(Arc::clone(&value));
        value
    }
}

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), most: 0 }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::review::Known;

    /// A store that looks for these names, and for all docker configs where `*` is among them.
    fn store(names: &[&str]) -> (Writer, Arc<SecretStore>) {
        let store = Arc::new(SecretStore::default());
        let mut writer = Writer::new(Arc::clone(&store));
        writer.look_for(&selections(names));
        (writer, store)
    }

    fn selections(names: &[&str]) -> BTreeSet<Selection> {
        names.iter().map(|name| selection(name)).collect()
    }

    fn selection(name: &str) -> Selection {
        match name {
            "*" => Selection::DockerConfigs,
            name => Selection::Named(name.into()),
        }
    }

    fn secret(namespace: &str, name: &str, host: &str) -> WatchedSecret {
        let config = json!({"auths": {host: {"auth": "YTpi"}}}).to_string();
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": "1"},
            "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": STANDARD.encode(config)},
        }))
        .unwrap()
    }

    impl Writer {
        fn listed(&mut self, name: &str, secrets: &[(&str, &str, &str)]) {
            let seen = secrets.iter().map(|(namespace, name, host)| secret(namespace, name, host));
            let seen = seen.collect::<Vec<_>>().into_iter().map(|secret| self.seen(secret)).collect();
            self.list(&selection(name), seen);
        }

        fn changed(&mut self, name: &str, secret: WatchedSecret) {
            let seen = self.seen(secret);
            self.set(&selection(name), seen);
        }
    }

    /// The names in a namespace that cover a host, and what is known of `name`.
    fn known(store: &SecretStore, namespace: &str, name: &str) -> &'static str {
        match store.namespace(namespace).get(name) {
            Known::Secret(PullSecret::DockerConfig(coverage)) if coverage.covers("old.corp/a") => "old",
            Known::Secret(_) => "new",
            Known::Missing => "missing",
            Known::Unknown => "unknown",
        }
    }

    #[test]
    fn s5_a_list_is_swapped_in_whole_and_says_what_is_missing() {
        let (mut writer, store) = store(&["pull", "other"]);
        assert_eq!(known(&store, "a", "pull"), "unknown");
        writer.listed("pull", &[("a", "pull", "old.corp"), ("b", "pull", "old.corp")]);
        assert_eq!(known(&store, "a", "pull"), "old");
        assert_eq!(known(&store, "c", "pull"), "missing");
        assert_eq!(known(&store, "a", "other"), "unknown");
        // What is not in a later list is gone; what another watch knows stays.
        writer.listed("other", &[("b", "other", "old.corp")]);
        writer.listed("pull", &[("a", "pull", "new.corp")]);
        assert_eq!(known(&store, "a", "pull"), "new");
        assert_eq!(known(&store, "b", "pull"), "missing");
        assert_eq!(known(&store, "b", "other"), "old");
    }

    #[test]
    fn s5_changes_after_the_list_are_taken_up() {
        let (mut writer, store) = store(&["pull"]);
        writer.listed("pull", &[("a", "pull", "old.corp")]);
        let snapshot = store.namespace("a");
        writer.changed("pull", secret("a", "pull", "new.corp"));
        writer.changed("pull", secret("b", "pull", "old.corp"));
        assert_eq!((known(&store, "a", "pull"), known(&store, "b", "pull")), ("new", "old"));
        writer.remove(&selection("pull"), "a", "pull");
        writer.remove(&selection("pull"), "nobody", "pull");
        assert_eq!(known(&store, "a", "pull"), "missing");
        // A review goes on with what it began with.
        assert!(matches!(snapshot.get("pull"), Known::Secret(_)));
    }

    #[test]
    fn s5_names_that_the_policy_drops_are_forgotten() {
        let (mut writer, store) = store(&["pull", "other"]);
        writer.listed("pull", &[("a", "pull", "old.corp")]);
        writer.listed("other", &[("a", "other", "old.corp")]);
        writer.look_for(&selections(&["other", "new"]));
        assert_eq!(known(&store, "a", "pull"), "unknown");
        assert_eq!(known(&store, "a", "other"), "old");
        assert_eq!(known(&store, "a", "new"), "unknown");
        writer.look_for(&selections(&["pull"]));
        assert_eq!(known(&store, "a", "pull"), "unknown");
        assert!(store.read().namespaces.is_empty());
    }

    #[test]
    fn s5_the_wide_watch_and_the_named_ones_keep_out_of_each_others_way() {
        let (mut writer, store) = store(&["pull", "*"]);
        writer.listed("pull", &[("a", "pull", "old.corp")]);
        writer.listed("*", &[("a", "pull", "new.corp"), ("a", "found", "old.corp"), ("b", "found", "old.corp")]);
        assert_eq!((known(&store, "a", "pull"), known(&store, "a", "found")), ("old", "old"));
        let names: Vec<_> = store.namespace("a").docker_configs().unwrap().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["found", "pull"]);
        writer.changed("*", secret("a", "pull", "new.corp"));
        writer.remove(&selection("*"), "a", "pull");
        assert_eq!(known(&store, "a", "pull"), "old");
        writer.listed("*", &[("a", "pull", "new.corp")]);
        assert_eq!((known(&store, "a", "pull"), known(&store, "b", "found")), ("old", "missing"));
        writer.look_for(&selections(&["pull"]));
        assert_eq!((known(&store, "a", "pull"), known(&store, "a", "found")), ("old", "unknown"));
        assert!(store.namespace("a").docker_configs().is_none());
    }

    #[test]
    fn s5_a_name_that_gets_a_watch_of_its_own_is_known_meanwhile() {
        let (mut writer, store) = store(&["*"]);
        writer.listed("*", &[("a", "pull", "old.corp")]);
        writer.look_for(&selections(&["pull", "*"]));
        assert_eq!((known(&store, "a", "pull"), known(&store, "b", "pull")), ("old", "unknown"));
        writer.listed("pull", &[]);
        assert_eq!(known(&store, "a", "pull"), "missing");
    }

    #[test]
    fn s5_what_may_not_be_watched_any_more_is_not_known() {
        let (mut writer, store) = store(&["pull", "other", "*"]);
        for name in ["pull", "other"] {
            writer.listed(name, &[("a", name, "old.corp")]);
        }
        writer.listed("*", &[("a", "found", "old.corp")]);
        writer.forget(&selection("pull"));
        assert_eq!((known(&store, "a", "pull"), known(&store, "b", "pull")), ("unknown", "unknown"));
        assert_eq!((known(&store, "a", "other"), known(&store, "a", "found")), ("old", "old"));
        writer.forget(&selection("*"));
        assert_eq!((known(&store, "a", "other"), known(&store, "a", "found")), ("old", "unknown"));
        writer.listed("pull", &[("a", "pull", "old.corp")]);
        assert_eq!(known(&store, "a", "pull"), "old");
    }

    /// The figure of 10,000 namespaces rests on it.
    #[test]
    fn equal_secrets_are_held_once_and_only_while_they_are_known() {
        let (mut writer, store) = store(&["pull"]);
        let namespaces: Vec<String> = (0..500).map(|n| format!("team-{n}")).collect();
        let alike: Vec<_> = namespaces.iter().map(|namespace| (namespace.as_str(), "pull", "old.corp")).collect();
        writer.listed("pull", &alike);
        assert_eq!(writer.secrets.values.len(), 1);
        for round in 0..20 {
            let hosts: Vec<String> = (0..100).map(|n| format!("h{round}-{n}.corp")).collect();
            let differing: Vec<_> =
                namespaces.iter().zip(&hosts).map(|(namespace, host)| (namespace.as_str(), "pull", &**host)).collect();
            writer.listed("pull", &differing);
        }
        assert_eq!(store.read().namespaces.len(), 100);
        assert!(writer.secrets.values.len() <= 300, "{}", writer.secrets.values.len());
    }
}
