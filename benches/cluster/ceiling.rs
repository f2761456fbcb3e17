//! The ceiling of `benches/load` as a webhook of the lab's API server, called by its Service (trap 37).

use std::fs;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::lab::{Lab, kubectl, kubectl_with, our_address, part, until, work};
use crate::registry::Authority;

/// One process of it.
pub(crate) struct Ceiling<'a> {
    /// Its name among the parts of the lab, and that of its Service and webhook.
    pub(crate) part: &'a str,
    pub(crate) port: u16,
    /// What it answers beside its permission, in base64.
    pub(crate) patch: Option<&'a str>,
    /// The namespace whose pods it is asked about.
    pub(crate) called_for: &'a str,
}

impl Ceiling<'_> {
    /// The webhook is configured before it is there: that pods fail then shows that it is called.
    pub(crate) async fn start(&self, lab: &Lab, authority: &Authority, pod: &Value) -> anyhow::Result<()> {
        let namespace = lab.namespace(None).await;
        let folder = work().join(self.part);
        fs::create_dir_all(&folder)?;
        let serving = authority.serving(&[&format!("{}.{namespace}.svc", self.part)]);
        let program = std::env::var("CEILING").context("benches/cluster/run says where the ceiling is")?;
        let mut command = format!("{program} --answer-uid --listen {}:{}", our_address(), self.port);
        for (option, name, text) in [
            ("--tls-cert", "tls.crt", Some(&*serving.certificate_pem)),
            ("--tls-key", "tls.key", Some(&*serving.key_pem)),
            ("--patch", "patch", self.patch),
        ] {
            let Some(text) = text else { continue };
            let file = folder.join(name);
            fs::write(&file, text)?;
            command += &format!(" {option} {}", file.display());
        }
        fs::write(work().join("parts").join(self.part), command)?;
        // One of an earlier run in this lab.
        part("stop", self.part, "KILL");
        self.configure(&namespace, authority)?;
        until("the ceiling to be called", 30, async || {
            let made = lab.dry_run(self.called_for, pod.clone()).await;
            made.is_err_and(|message| message.contains("failed calling webhook")).then_some(())
        })
        .await;
        part("start", self.part, "TERM");
        Ok(())
    }

    fn configure(&self, namespace: &str, authority: &Authority) -> anyhow::Result<()> {
        let ours = kubectl(&["get", "mutatingwebhookconfiguration", "mirrorgate", "-o", "json"]).success().out;
        // As mirrorgate's own in everything but where it is, and for whom.
        let mut webhook = serde_json::from_str::<Value>(&ours)?["webhooks"][0].take();
        webhook["name"] = json!(format!("{}.bench.test", self.part));
        webhook["clientConfig"] = json!({
            "service": {"namespace": namespace, "name": self.part, "port": 443, "path": "/"},
            "caBundle": STANDARD.encode(&authority.pem),
        });
        webhook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": self.called_for}});
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.part}, "webhooks": [webhook],
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.part, "namespace": namespace},
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": self.port}]},
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": self.part, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": self.part, "endpointslice.kubernetes.io/managed-by": "benches"},
            },
            "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [our_address()], "conditions": {"ready": true}}],
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [service, slice, configuration]});
        kubectl_with(&list.to_string(), &["apply", "-f", "-"]).success();
        Ok(())
    }
}
