//! Everything that is asked of the API server, with the user's access: each call bounded in time, lists taken page by page.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{POLICY_CONFIG_MAP, SERVING_SECRET};
use crate::image::Escaped;
use crate::keyring::{DOCKER_CONFIG_JSON, PullSecret};
use crate::policy::{BundleRef, KeyRef};
use crate::probe::MOST_BUNDLE_BYTES;
use crate::trust::{Bundle, Pool};

use super::super::rbac::SERVICE_ACCOUNT;
use super::facts::{Access, AdmissionPolicy, Facts, Labelled, Read, ServingPair, Unread};
use super::guards::{self, Guard};

/// An API server that takes longer for one answer is not waited for.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// But for a dry run: the API server waits for every webhook of the namespace in turn, each for up to 30 s, and says only then
/// which did not answer.
const LONGEST_DRY_RUN: Duration = Duration::from_secs(31);

/// And for all of them together.
const LONGEST: Duration = Duration::from_secs(60);

/// So many calls are under way at once.
const AT_ONCE: usize = 8;

/// Objects of a list that come at a time, and how many pages are taken: the largest cluster that Kubernetes is made for has
/// 10,000 namespaces.
const PAGE: u32 = 500;
const MOST_PAGES: usize = 40;

/// Secrets that come at a time: one may have 1.4 MB.
const PAGE_OF_SECRETS: u32 = 100;

/// Where the whole cluster may not be listed, so many namespaces are asked one by one.
const MOST_NAMESPACES: usize = 100;

/// The most characters of what the API server says of a failure.
const MOST_CHARS: usize = 300;

/// The API server, asked with the user's access.
pub(super) struct Reader {
    client: Client,
    /// mirrorgate's own.
    namespace: String,
    end: Instant,
}

/// One Secret with registry credentials: what they cover, and no credential.
pub(super) struct FoundSecret {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) secret: PullSecret,
}

/// Which Secrets are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Those of a name, of any type.
    Named(String),
    /// All docker configs.
    DockerConfigs,
}

/// How a dry run of a pod ended.
pub(super) enum DryRun {
    /// The API server took it.
    Taken,
    /// It did not, and says why.
    Refused(String),
}

impl Reader {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace, end: Instant::now() + LONGEST }
    }

    /// The version: whoever answers this is an API server.
    pub(super) async fn version(&self) -> Result<Info, kube::Error> {
        match tokio::time::timeout(LONGEST_CALL, self.client.apiserver_version()).await {
            Ok(answer) => answer,
            Err(_) => Err(kube::Error::Service("no answer in 5 s".into())),
        }
    }

    /// All that depends on nothing else.
    pub(super) async fn facts(&self, version: Read<Info>) -> Facts {
        let own = |resource, group| Access::to("get", group, resource).within(&self.namespace);
        let admission = |resource| Access::to("get", "admissionregistration.k8s.io", resource);
        let (deployment, mutating, validating, service, endpoints) = tokio::join!(
            self.get::<Deployment>(
                Api::namespaced(self.client.clone(), &self.namespace),
                own("deployments", "apps"),
                "mirrorgate"
            ),
            self.get::<MutatingWebhookConfiguration>(
                Api::all(self.client.clone()),
                admission("mutatingwebhookconfigurations"),
                "mirrorgate"
            ),
            self.get::<ValidatingWebhookConfiguration>(
                Api::all(self.client.clone()),
                admission("validatingwebhookconfigurations"),
                "mirrorgate"
            ),
            self.get::<Service>(
                Api::namespaced(self.client.clone(), &self.namespace),
                own("services", ""),
                "mirrorgate"
            ),
            self.endpoints(),
        );
        let (serving, policy, bundle_policy, label_policy, namespaces) = tokio::join!(
            self.serving(),
            self.get::<ConfigMap>(
                Api::namespaced(self.client.clone(), &self.namespace),
                own("configmaps", ""),
                POLICY_CONFIG_MAP
            ),
            self.admission_policy(&guards::CA_BUNDLE),
            self.admission_policy(&guards::LABEL),
            self.namespaces(),
        );
        Facts {
            namespace: self.namespace.clone(),
            now: Timestamp::now(),
            version,
            deployment,
            mutating,
            validating,
            service,
            endpoints,
            serving,
            policy,
            bundle_policy,
            label_policy,
            namespaces,
        }
    }

    async fn admission_policy(&self, guard: &Guard) -> AdmissionPolicy {
        let access = |resource| Access::to("get", "admissionregistration.k8s.io", resource);
        let (policy, binding) = tokio::join!(
            self.get(Api::all(self.client.clone()), access("validatingadmissionpolicies"), guard.name),
            self.get(Api::all(self.client.clone()), access("validatingadmissionpolicybindings"), guard.name),
        );
        AdmissionPolicy { policy, binding }
    }

    async fn endpoints(&self) -> Read<Vec<EndpointSlice>> {
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        let access = Access::to("list", "discovery.k8s.io", "endpointslices").within(&self.namespace);
        let params = ListParams::default().labels("kubernetes.io/service-name=mirrorgate").limit(PAGE);
        self.list(&api, access, params).await
    }

    async fn serving(&self) -> Read<ServingPair> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let access = Access::to("get", "", "secrets").within(&self.namespace);
        let secret = self.get(api, access, SERVING_SECRET).await?;
        let mut data = secret.data.unwrap_or_default();
        let mut value = |key: &str| data.remove(key).map(|value| value.0);
        Ok(ServingPair { chain: value("tls.crt"), key: value("tls.key"), authority: value("ca.crt") })
    }

    async fn namespaces(&self) -> Read<Vec<Labelled>> {
        let api = Api::<Namespace>::all(self.client.clone());
        let access = Access::to("list", "", "namespaces");
        let listed = self.list(&api, access, ListParams::default().limit(PAGE)).await?;
        let labelled = |namespace: Namespace| {
            let metadata = namespace.metadata;
            Labelled {
                name: metadata.name.unwrap_or_default(),
                labels: metadata.labels.unwrap_or_default(),
                annotations: metadata.annotations.unwrap_or_default(),
                terminating: metadata.deletion_timestamp.is_some(),
            }
        };
        Ok(listed.into_iter().map(labelled).collect())
    }

    /// Whether mirrorgate's service account may do each of these, by the API server's own word.
    pub(super) async fn may(&self, asks: Vec<Access>) -> Vec<(Access, Read<bool>)> {
        let asked = asks.into_iter().map(async |ask| {
            let may = self.may_one(&ask).await;
            (ask, may)
        });
        stream::iter(asked).buffered(AT_ONCE).collect().await
    }

    async fn may_one(&self, ask: &Access) -> Read<bool> {
        let Access { verb, group, resource, name, namespace } = ask;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{SERVICE_ACCOUNT}", self.namespace)),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{}", self.namespace),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.clone()),
                    group: Some(group.clone()),
                    resource: Some(resource.clone()),
                    name: name.clone(),
                    namespace: namespace.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let access = Access::to("create", "authorization.k8s.io", "subjectaccessreviews");
        let answer = self.bounded(access, api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The names that a ClusterRole of ours lists, or nothing if there is none.
    pub(super) async fn cluster_role(&self, name: &str) -> Read<ClusterRole> {
        let access = Access::to("get", "rbac.authorization.k8s.io", "clusterroles");
        self.get(Api::all(self.client.clone()), access, name).await
    }

    /// The namespaces in which there is a RoleBinding of this name.
    pub(super) async fn role_bindings(&self, name: &str) -> Read<Vec<String>> {
        let api = Api::<RoleBinding>::all(self.client.clone());
        let access = Access::to("list", "rbac.authorization.k8s.io", "rolebindings");
        let params = ListParams::default().fields(&format!("metadata.name={name}")).limit(PAGE);
        let listed = self.list(&api, access, params).await?;
        Ok(listed.into_iter().filter_map(|binding| binding.metadata.namespace).collect())
    }

    /// The Secrets that are wanted, of these namespaces; and which of them could not be looked at.
    pub(super) async fn pull_secrets(
        &self,
        wanted: &Wanted,
        namespaces: &[&str],
    ) -> (Vec<FoundSecret>, Vec<(String, Unread)>) {
        let fields = match wanted {
            Wanted::Named(name) => format!("metadata.name={name}"),
            Wanted::DockerConfigs => format!("type={DOCKER_CONFIG_JSON}"),
        };
        let access = match wanted {
            Wanted::Named(name) => Access::to("list", "", "secrets").named(name),
            Wanted::DockerConfigs => Access::to("list", "", "secrets"),
        };
        let params = ListParams::default().fields(&fields).limit(PAGE_OF_SECRETS);
        let (found, unread) = self.of_namespaces::<Secret>(&access, &params, namespaces).await;
        let secret = |secret: Secret| FoundSecret {
            namespace: secret.metadata.namespace.unwrap_or_default(),
            name: secret.metadata.name.unwrap_or_default(),
            secret: PullSecret::read(&secret.type_.unwrap_or_default(), |key| {
                Some(secret.data.as_ref()?.get(key)?.0.as_slice())
            }),
        };
        (found.into_iter().map(secret).collect(), unread)
    }

    /// The service accounts of these namespaces; and which could not be looked at.
    pub(super) async fn service_accounts(&self, namespaces: &[&str]) -> (Vec<ServiceAccount>, Vec<(String, Unread)>) {
        let access = Access::to("list", "", "serviceaccounts");
        self.of_namespaces(&access, &ListParams::default().limit(PAGE), namespaces).await
    }

    /// Lists the whole cluster where that may be done, else namespace by namespace.
    async fn of_namespaces<K>(
        &self,
        access: &Access,
        params: &ListParams,
        namespaces: &[&str],
    ) -> (Vec<K>, Vec<(String, Unread)>)
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let all = self.list(&Api::<K>::all(self.client.clone()), access.clone(), params.clone()).await;
        if let Ok(mut found) = all {
            found.retain(|object| object.meta().namespace.as_deref().is_some_and(|at| namespaces.contains(&at)));
            return (found, Vec::new());
        }
        let one_by_one = namespaces.iter().take(MOST_NAMESPACES).map(async |&namespace| {
            let api = Api::<K>::namespaced(self.client.clone(), namespace);
            (namespace, self.list(&api, access.clone().within(namespace), params.clone()).await)
        });
        let answers: Vec<_> = stream::iter(one_by_one).buffered(AT_ONCE).collect().await;
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for (namespace, answer) in answers {
            match answer {
                Ok(objects) => found.extend(objects),
                Err(why) => unread.push((namespace.to_owned(), why)),
            }
        }
        let beyond = namespaces.iter().skip(MOST_NAMESPACES);
        unread.extend(beyond.map(|namespace| ((*namespace).to_owned(), Unread::Forbidden(access.clone()))));
        (found, unread)
    }

    /// The certificates of a CA bundle of the policy.
    pub(super) async fn bundle(&self, bundle: &BundleRef) -> Read<Result<Pool, String>> {
        let (content, kind) = match bundle {
            BundleRef::ConfigMap(key) => (self.key_of_config_map(key).await?, "ConfigMap"),
            BundleRef::Secret(key) => (self.key_of_secret(key).await?, "Secret"),
            BundleRef::File(_) => return Ok(Err("it is a file of the pods, which is not seen from here".to_owned())),
        };
        let Some(pem) = content else { return Ok(Err(format!("the {kind} has no such key"))) };
        if pem.len() > MOST_BUNDLE_BYTES {
            return Ok(Err(format!("it has more than {MOST_BUNDLE_BYTES} bytes")));
        }
        let Bundle { certificates, skipped } = Bundle::read(&pem);
        if certificates.is_empty() {
            let why: Vec<String> = skipped.iter().take(1).map(|skipped| format!(": {skipped}")).collect();
            return Ok(Err(format!("it has no certificate that can be used{}", why.concat())));
        }
        Ok(Ok(Pool::new(&bundle.to_string(), certificates)))
    }

    async fn key_of_config_map(&self, KeyRef { namespace, name, key }: &KeyRef) -> Read<Option<Vec<u8>>> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let access = Access::to("get", "", "configmaps").within(namespace);
        let ConfigMap { data, binary_data, .. } = self.get(api, access, name).await?;
        let clear = data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
        Ok(clear.or_else(|| Some(binary_data?.remove(key)?.0)))
    }

    async fn key_of_secret(&self, KeyRef { namespace, name, key }: &KeyRef) -> Read<Option<Vec<u8>>> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let access = Access::to("get", "", "secrets").within(namespace);
        let Secret { data, .. } = self.get(api, access, name).await?;
        Ok(data.and_then(|mut data| data.remove(key)).map(|value| value.0))
    }

    /// What the API server says to a pod that is not made: it asks every webhook that the namespace has.
    pub(super) async fn dry_run(&self, namespace: &str, image: &str) -> Read<DryRun> {
        let pod = json!({
            "metadata": {"generateName": "mirrorgate-doctor-"},
            "spec": {
                "containers": [{
                    "name": "doctor", "image": image,
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }],
                "automountServiceAccountToken": false,
            },
        });
        let pod: Pod = serde_json::from_value(pod).map_err(|error| Unread::Failed(error.to_string()))?;
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let access = Access::to("create", "", "pods").within(namespace);
        let Ok(answer) = tokio::time::timeout(LONGEST_DRY_RUN, api.create(&params, &pod)).await else {
            return Err(Unread::Failed(format!("no answer in {} s", LONGEST_DRY_RUN.as_secs())));
        };
        match answer {
            Ok(_) => Ok(DryRun::Taken),
            // Who may not make pods is told so; admission refuses in other words.
            Err(kube::Error::Api(status))
                if status.code == 403 && status.message.contains(" cannot create resource ") =>
            {
                Err(Unread::Forbidden(access))
            }
            Err(kube::Error::Api(status)) => Ok(DryRun::Refused(cut(&status.message))),
            Err(error) => Err(Unread::Failed(cut(&error.to_string()))),
        }
    }

    async fn get<K>(&self, api: Api<K>, access: Access, name: &str) -> Read<K>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        self.bounded(access.named(name), api.get(name)).await
    }

    async fn list<K>(&self, api: &Api<K>, access: Access, mut params: ListParams) -> Read<Vec<K>>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.bounded(access.clone(), api.list(&params)).await?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
        Err(Unread::Failed(format!("there are more than {} of them, which is more than are looked at", found.len())))
    }

    /// What is left of the time for all, and no more than one call may have.
    fn patience(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).min(LONGEST_CALL)
    }

    async fn bounded<T>(&self, access: Access, call: impl Future<Output = kube::Result<T>>) -> Read<T> {
        match tokio::time::timeout(self.patience(), call).await {
            Err(_) => Err(Unread::Failed("no answer in time".to_owned())),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(match status.code {
                404 => Unread::Absent,
                401 | 403 => Unread::Forbidden(access),
                _ => Unread::Failed(cut(&status.message)),
            }),
            Ok(Err(error)) => Err(Unread::Failed(cut(&error.to_string()))),
        }
    }
}

fn cut(text: &str) -> String {
    Escaped::cut(text, MOST_CHARS).to_string()
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::{Request, Response, StatusCode};
    use kube::client::Body;

    use super::*;

    /// Firewalls and policies drop packets: the API server says so when it has waited for as long as the webhook may take.
    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_waits_for_a_silent_webhook_is_heard() {
        let service = tower::service_fn(async |_: Request<Body>| {
            tokio::time::sleep(Duration::from_millis(5_240)).await;
            let words = "failed calling webhook: context deadline exceeded";
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": words, "code": 500});
            let answer = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
            answer.body(Full::new(bytes::Bytes::from(status.to_string())))
        });
        let reader = Reader::new(Client::new(service, "default"), "mirrorgate-system".to_owned());
        let Ok(DryRun::Refused(why)) = reader.dry_run("team-a", "image").await else { panic!("not heard") };
        assert!(why.contains("context deadline exceeded"), "{why}");
    }
}
