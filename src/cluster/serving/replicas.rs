//! What the replicas serve: each address behind the Service is asked, by a TLS handshake.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Client;
use kube::api::{Api, ListParams};
use tracing::debug;

use crate::image::{Escaped, Registry};
use crate::probe::{Dialler, Kind, Target};
use crate::trust::{Certificate, Outcome, Pool, Roots};

use super::super::watching::{Fault, in_time};

/// For one handshake.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The port of the Service that the API server calls.
const PORT: &str = "https";

/// Of replicas that are named in one message, and of the characters of a name.
const MOST_NAMED: usize = 5;
const MOST_NAME: usize = 64;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Who serves a certificate that this CA signed? One that is going is not asked: it is never called by a new connection
    /// again, and soon accepts none; those that it has are of before.
    ServesBy(Arc<Certificate>),
    /// Who serves a certificate at all? One that is going remembers as well as any.
    Serves,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answers(Result<Vec<Answer>, String>);

#[derive(Debug)]
struct Answer {
    replica: String,
    is_yes: bool,
}

impl Answers {
    /// Whether every replica said yes: ready or not, since one that is not may be again.
    pub(super) fn all(&self) -> bool {
        matches!(&self.0, Ok(answers) if !answers.is_empty() && answers.iter().all(|answer| answer.is_yes))
    }

    /// Whether it is known that no replica said yes.
    pub(super) fn none(&self) -> bool {
        matches!(&self.0, Ok(answers) if !answers.iter().any(|answer| answer.is_yes))
    }

    /// Who did not say yes, in words, or why that is not known.
    pub(super) fn missing(&self) -> String {
        match &self.0 {
            Err(why) => format!("the replicas cannot be listed: {why}"),
            Ok(answers) if answers.is_empty() => "the Service mirrorgate has no replica".to_owned(),
            Ok(answers) => {
                let missing = answers.iter().filter(|answer| !answer.is_yes);
                let mut names: Vec<&str> = missing.map(|answer| answer.replica.as_str()).collect();
                names.sort_unstable();
                let more = names.len().saturating_sub(MOST_NAMED);
                names.truncate(MOST_NAMED);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                format!("{}{more}", names.join(", "))
            }
        }
    }
}

/// Asks all of them. `name` is the one that we are called by.
pub(super) async fn ask(client: Client, namespace: String, name: String, question: Question) -> Answers {
    let answers = asked(client, &namespace, &name, &question).await;
    debug!(?answers, "asked the replicas for their certificate");
    Answers(answers)
}

async fn asked(client: Client, namespace: &str, name: &str, question: &Question) -> Result<Vec<Answer>, String> {
    let slices = Api::<EndpointSlice>::namespaced(client, namespace);
    let of_the_service = ListParams::default().labels("kubernetes.io/service-name=mirrorgate");
    let slices = in_time(slices.list(&of_the_service)).await.map_err(|error| Fault::of_request(&error).to_string())?;
    let registry = Registry::parse(name).map_err(|error| error.to_string())?;
    let dialler = Dialler::new();
    let roots = match question {
        Question::ServesBy(authority) => vec![Arc::new(Pool::new("the new CA", vec![Arc::clone(authority)]))],
        Question::Serves => Vec::new(),
    };
    let roots = Roots::new(roots);
    let going_too = matches!(question, Question::Serves);
    let replicas: Vec<_> = slices.items.iter().flat_map(|slice| addresses(slice, going_too)).collect();
    let answers = replicas.into_iter().map(|(address, replica)| {
        let target = Target {
            registry: &registry,
            checked: Kind::HandshakeOnly,
            denied: &[],
            literal_allowed: true,
            timeout: TIMEOUT,
            resolve: Some(address),
        };
        let (dialler, roots) = (&dialler, &roots);
        async move {
            let judgement = dialler.probe(&target, roots).await.judgement;
            let is_yes = judgement.is_some_and(|judgement| match question {
                Question::ServesBy(_) => matches!(judgement.outcome, Outcome::Trusted(_)),
                Question::Serves => !judgement.presented.is_empty(),
            });
            Answer { replica, is_yes }
        }
    });
    Ok(join_all(answers).await)
}

/// Where the replicas of a slice are, and what they are called.
fn addresses(slice: &EndpointSlice, going_too: bool) -> Vec<(SocketAddr, String)> {
    let ports = slice.ports.iter().flatten().filter(|port| port.name.as_deref() == Some(PORT));
    let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
    let is_going = |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|is| is.terminating) == Some(true);
    let asked = slice.endpoints.iter().filter(|endpoint| going_too || !is_going(endpoint));
    let addresses = asked.flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)));
    let addresses = addresses.filter_map(|(endpoint, address)| Some((endpoint, address.parse::<IpAddr>().ok()?)));
    addresses
        .flat_map(|(endpoint, address)| ports.iter().map(move |&port| (endpoint, SocketAddr::new(address, port))))
        .map(|(endpoint, address)| (address, called(endpoint, address)))
        .collect()
}

fn called(endpoint: &Endpoint, address: SocketAddr) -> String {
    match endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()) {
        Some(pod) => format!("pod {} ({address})", Escaped::cut(pod, MOST_NAME)),
        None => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice() -> EndpointSlice {
        let slice = json!({
            "addressType": "IPv4", "metadata": {},
            "ports": [{"name": "https", "port": 8443}, {"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "name": "mirrorgate-a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": false}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.4"]},
            ],
        });
        serde_json::from_value(slice).unwrap()
    }

    /// A replica that is going may take 95 s for it: a change of CAs does not wait for that. But it remembers a Secret that is
    /// gone.
    #[test]
    fn every_replica_that_stays_is_asked_ready_or_not() {
        let asked = |going_too| {
            let asked = addresses(&slice(), going_too);
            asked.into_iter().map(|(address, _)| address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(asked(false), ["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.4:8443"]);
        assert_eq!(asked(true), ["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.3:8443", "10.0.0.4:8443"]);
    }

    #[test]
    fn who_did_not_say_yes_is_named_and_who_is_not_known_said_neither() {
        let answers = |is_yes: &[bool]| {
            let replicas = addresses(&slice(), true).into_iter().zip(is_yes);
            Answers(Ok(replicas.map(|((_, replica), &is_yes)| Answer { replica, is_yes }).collect()))
        };
        let some = answers(&[false, true, false]);
        assert_eq!(some.missing(), "10.0.0.3:8443, pod mirrorgate-a (10.0.0.1:8443)");
        assert_eq!((some.all(), some.none()), (false, false));
        assert!(answers(&[true, true]).all() && answers(&[false]).none());
        let nobody = answers(&[]);
        assert_eq!((nobody.all(), nobody.none()), (false, true));
        let unknown = Answers(Err("no".to_owned()));
        assert_eq!((unknown.all(), unknown.none()), (false, false));
    }
}
