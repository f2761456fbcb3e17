//! The servers that are started here, and how soon they answer.

use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::client::{Client, PATH};
use crate::generator::Target;
use crate::process::{Cores, Server, on_core};
use crate::scene::spread::Spread;
use crate::scenery::Scenery;
use crate::settings::Settings;

pub(crate) const CEILING: &str = "ceiling";
pub(crate) const MIRRORGATE: &str = "mirrorgate";

/// How both are started.
pub(crate) struct Stage<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) cores: Cores,
    pub(crate) scenery: &'a Scenery,
    pub(crate) runtime: &'a Runtime,
}

/// A server that has answered.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) target: Target,
    /// From its start on, in milliseconds.
    pub(crate) first_answer: f64,
}

/// From start to the first answer, round by round (ms).
#[derive(Default)]
pub(crate) struct Starts {
    pub(crate) ceiling: Vec<f64>,
    pub(crate) mirrorgate: Vec<f64>,
}

impl Starts {
    pub(crate) fn of(&self, name: &str) -> Option<Spread> {
        let figures = match name {
            CEILING => &self.ceiling,
            MIRRORGATE => &self.mirrorgate,
            _ => return None,
        };
        Some(Spread::of(figures.iter().copied()))
    }
}

impl Stage<'_> {
    pub(crate) fn ceiling(&self, body: &Bytes) -> anyhow::Result<Running> {
        let mut command = on_core(self.cores.server, &self.settings.ceiling);
        command.arg("--tls-cert").arg(self.scenery.path("tls.crt")).arg("--tls-key").arg(self.scenery.path("tls.key"));
        self.running(Server::start(CEILING, command)?, CEILING, body)
    }

    /// `mirrorgate serve` by the policy in `policy.yaml`.
    pub(crate) fn mirrorgate(&self, body: &Bytes) -> anyhow::Result<Running> {
        let built = Path::new(env!("CARGO_BIN_EXE_mirrorgate"));
        let mut command = on_core(self.cores.server, self.settings.mirrorgate.as_deref().unwrap_or(built));
        command.args(["serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--log-format"]);
        command.arg(&self.settings.log_format).arg("--policy").arg(self.scenery.path("policy.yaml"));
        command.arg("--tls-cert").arg(self.scenery.path("tls.crt")).arg("--tls-key").arg(self.scenery.path("tls.key"));
        self.running(Server::start(MIRRORGATE, command)?, MIRRORGATE, body)
    }

    fn running(&self, server: Server, name: &str, body: &Bytes) -> anyhow::Result<Running> {
        let authority = self.scenery.path("ca.crt");
        let client = Client::new(&authority, server.address)?;
        let answer = self.runtime.block_on(async { client.connect().await?.review(body.clone()).await });
        let answer = answer.with_context(|| format!("the first review for {name}"))?;
        let first_answer = server.started.elapsed().as_secs_f64() * 1e3;
        check(&answer, name == MIRRORGATE).with_context(|| format!("the first review for {name}"))?;
        let url = format!("https://{}{PATH}", server.address);
        let target = Target { name: name.to_owned(), url, pid: server.pid(), authority: Some(authority) };
        Ok(Running { server, client, target, first_answer })
    }
}

/// That the pod is admitted, and by mirrorgate as it shall be under load: patched, and with nothing that is not known.
pub(crate) fn check(answer: &[u8], is_mirrorgates: bool) -> anyhow::Result<()> {
    let review: Value = serde_json::from_slice(answer).context("the answer is not JSON")?;
    let response = &review["response"];
    if response["allowed"] != true {
        bail!("it is not admitted: {review}");
    }
    if is_mirrorgates && !(response["patch"].is_string() && response["warnings"].is_null()) {
        bail!("it is not patched, or not without a warning: {review}");
    }
    Ok(())
}
