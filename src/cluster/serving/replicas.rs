//! Whether every replica serves a certificate of a CA: each address behind the Service is asked, by a TLS handshake.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Client;
use kube::api::{Api, ListParams};
use tracing::debug;

use crate::image::Registry;
use crate::probe::{Dialler, Kind, Target};
use crate::trust::{Certificate, Outcome, Pool, Roots};

/// For one handshake.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The port of the Service that the API server calls.
const PORT: &str = "https";

/// Whether all of them do: ready or not, since one that is not may be again. `name` is the one that we are called by. One that
/// is going is never called by a new connection again, and soon accepts none: those that it has are of before.
pub(super) async fn serve_it(client: Client, namespace: String, name: String, authority: Arc<Certificate>) -> bool {
    let slices = Api::<EndpointSlice>::namespaced(client, &namespace);
    let of_the_service = ListParams::default().labels("kubernetes.io/service-name=mirrorgate");
    let slices = match slices.list(&of_the_service).await {
        Ok(slices) => slices.items,
        Err(error) => {
            debug!(%error, "the replicas cannot be listed");
            return false;
        }
    };
    let Ok(registry) = Registry::parse(&name) else { return false };
    let dialler = Dialler::new();
    let roots = Roots::new(vec![Arc::new(Pool::new("the new CA", vec![authority]))]);
    let addresses: Vec<SocketAddr> = slices.iter().flat_map(addresses).collect();
    let answers = join_all(addresses.iter().map(|&address| {
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
            let serves = judgement.is_some_and(|judgement| matches!(judgement.outcome, Outcome::Trusted(_)));
            debug!(%address, serves, "asked a replica for its certificate");
            serves
        }
    }))
    .await;
    !answers.is_empty() && answers.into_iter().all(|serves| serves)
}

fn addresses(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter(|port| port.name.as_deref() == Some(PORT));
    let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
    let is_going = |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|is| is.terminating) == Some(true);
    let staying = slice.endpoints.iter().filter(|endpoint| !is_going(endpoint));
    let addresses = staying.flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.flat_map(|address| ports.iter().map(move |&port| SocketAddr::new(address, port))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A replica that is going may take 95 s for it: a change of CAs does not wait for that.
    #[test]
    fn every_replica_that_stays_is_asked_ready_or_not() {
        let slice = serde_json::from_value(json!({
            "addressType": "IPv4", "metadata": {},
            "ports": [{"name": "https", "port": 8443}, {"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "terminating": false}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": false}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.4"]},
            ],
        }));
        let asked: Vec<String> = addresses(&slice.unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.4:8443"]);
    }
}
