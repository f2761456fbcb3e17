//! Registries with certificates of every kind: what mirrorgate says of each is what containerd then does.
//!
//! Both are given the same CAs, containerd by `certs.d`, mirrorgate by its policy. A registry is a front that serves the
//! certificates, and behind it the real one; every image is really pulled, or not, for a pod.

mod certificates;
mod front;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::certificates::{Kind, NAME, kinds};
use crate::lab::{Lab, kubectl, kubectl_with, our_address, until, work};
use crate::node::{push, put_in_force, refused, running, said};
use crate::pods::named_pod;

#[tokio::test(flavor = "multi_thread")]
async fn t3_what_is_said_of_a_registry_is_what_containerd_does() {
    let lab = Lab::alone().await;
    let registries = Registries::start().await;
    assert!(registries.all.len() >= 25, "{}", registries.all.len());
    let policy = registries.policy().to_string();
    put_in_force(&lab, &policy).await;
    let classes = registries.classes(&policy);

    // With mirrorgate where it enforces, and without it elsewhere: what it refuses is tried all the same.
    let enforced = lab.namespace(Some("enforce")).await;
    let free = lab.namespace(None).await;
    let mut verdicts = Vec::new();
    for (number, ((kind, host), class)) in registries.all.iter().zip(classes).enumerate() {
        let name = format!("pod-{number}");
        let mut pod = named_pod(&name, &[&format!("{host}/{}", registries.image)]);
        // The port may have been another kind's in an earlier run, and the node have the image.
        pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        let create = |namespace: &str| kubectl_with(&pod.to_string(), &["-n", namespace, "create", "-f", "-"]);
        let asked = create(&enforced);
        if !asked.ok {
            assert!(
                asked.err.contains("denied the request") && asked.err.contains(host),
                "{}: {}",
                kind.name,
                asked.err
            );
            create(&free).success();
        }
        verdicts.push((kind, name, asked, class));
    }

    let mut different = Vec::new();
    for (kind, name, asked, class) in verdicts {
        if asked.ok {
            // A warning would say that it is not known.
            assert_eq!(asked.err, "", "{}", kind.name);
            running(&lab, &enforced, &name).await;
        } else {
            refused(&lab, &free, &name).await;
            said(&lab, &free, &name, "x509: ").await;
        }
        if class != kind.class || asked.ok != (class == "ok") {
            different.push(format!("{} should be {}, is {class}: {}", kind.name, kind.class, asked.err));
        }
    }
    // A node has room for a hundred.
    for namespace in [&enforced, &free] {
        kubectl(&["-n", namespace, "delete", "pods", "--all", "--grace-period=1", "--wait=false"]).success();
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The fronts and what is behind them; all end with this.
struct Registries {
    /// The registry of each kind, as an image names it.
    all: Vec<(Kind, String)>,
    /// What each of them has.
    image: &'static str,
    _fronts: JoinSet<()>,
    _processes: Vec<Process>,
}

impl Registries {
    async fn start() -> Self {
        let address = our_address();
        let image = "trust/app:1";
        push(image);
        let behind = free_port("127.0.0.1").await;
        let mut processes = vec![Process::start("behind", behind, None).await];
        let (mut all, mut fronts) = (Vec::new(), JoinSet::new());
        for kind in kinds(&work().join("node/registries"), &address) {
            let listens = if kind.by_itself {
                let listens = free_port(&address).await;
                processes.push(Process::start("by-itself", listens, Some(kind.name)).await);
                listens
            } else {
                front::start(&mut fronts, &address, &kind, behind).await
            };
            let host = format!("{}:{}", if kind.by_address { &address } else { NAME }, listens.port());
            let certs = work().join("node/certs.d").join(&host);
            let _ = fs::remove_dir_all(&certs);
            fs::create_dir_all(&certs).unwrap();
            if let Some(trusted) = &kind.trusted {
                fs::write(certs.join("ca.crt"), trusted).unwrap();
            }
            all.push((kind, host));
        }
        Self { all, image, _fronts: fronts, _processes: processes }
    }

    /// What `mirrorgate probe` says of each under the policy.
    fn classes(&self, policy: &str) -> Vec<String> {
        let file = work().join("node/registries/policy.yaml");
        fs::write(&file, policy).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
        command.args(["probe", "-o", "json", "--policy"]).arg(file).args(self.all.iter().map(|(_, host)| host));
        let output = command.output().unwrap();
        let said: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said.len(), self.all.len());
        said.iter().map(|registry| registry["class"].as_str().unwrap().to_owned()).collect()
    }

    /// The same CAs, each for its registry only.
    fn policy(&self) -> Value {
        let registries: Vec<&String> = self.all.iter().map(|(_, host)| host).collect();
        let authority = |(number, (kind, host)): (usize, &(Kind, String))| {
            let data = base64::engine::general_purpose::STANDARD.encode(kind.trusted.as_ref()?);
            Some(json!({"name": format!("ca-{number}"), "data": data, "registries": [host]}))
        };
        let authorities: Vec<Value> = self.all.iter().enumerate().filter_map(authority).collect();
        json!({
            "apiVersion": "mirrorgate.dev/v1alpha1", "kind": "Policy",
            "trust": {"registries": registries, "additionalTrustedCAs": authorities},
        })
    }
}

async fn free_port(address: &str) -> SocketAddr {
    TcpListener::bind((address, 0)).await.unwrap().local_addr().unwrap()
}

/// A registry over the images of the lab's, which asks for no password.
struct Process(Child);

impl Process {
    /// With the certificate of this name, or in plain HTTP.
    async fn start(name: &str, listens: SocketAddr, certificate: Option<&str>) -> Self {
        let folder = work().join("node/registries");
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, end: &str| -> PathBuf { folder.join(format!("{name}{end}")) };
        let mut http = json!({"addr": listens});
        if let Some(certificate) = certificate {
            http["tls"] = json!({"certificate": file(certificate, ".crt"), "key": file(certificate, ".key")});
        }
        let config = json!({
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": work().join("registry")}, "maintenance": {"readonly": {"enabled": true}}},
            "http": http,
        });
        fs::write(file(name, ".yaml"), config.to_string()).unwrap();
        let log = fs::File::create(work().join(format!("logs/registry-{name}.log"))).unwrap();
        let mut command = Command::new("registry");
        command.arg("serve").arg(file(name, ".yaml")).env("OTEL_TRACES_EXPORTER", "none");
        let process = Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until(&format!("the registry {name}"), 20, async || TcpStream::connect(listens).await.ok()).await;
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
