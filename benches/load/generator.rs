//! One run of oha against one server, and what came of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::process::{RunTime, on_core};

/// What the API server speaks to a Service, and to a loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Somebody who answers reviews.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pid: u32,
    pub(crate) authority: Option<PathBuf>,
}

/// What is sent, how, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) body: &'a Path,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    /// A second, on all connections; `None`: as many as go.
    pub(crate) rate: Option<f64>,
    pub(crate) time: Duration,
}

/// What came of it. Latencies in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// In microseconds.
    pub(crate) cpu_per_review: f64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// oha, and the core that it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    pub(crate) oha: PathBuf,
    pub(crate) core: u32,
}

impl Generator {
    /// Drives `target`. A call that fails, or is answered by anything but 200, fails the whole.
    pub(crate) fn run(&self, target: &Target, load: Load<'_>) -> anyhow::Result<Outcome> {
        let before = RunTime::of(target.pid)?;
        let output = self.command(target, load).output().context("starting oha")?;
        let cpu = RunTime::of(target.pid).with_context(|| format!("{} after the load", target.name))?.since(&before);
        if !output.status.success() {
            bail!("oha against {}: {}", target.url, String::from_utf8_lossy(&output.stderr).trim());
        }
        let found: Value = serde_json::from_slice(&output.stdout).context("what oha says is not JSON")?;
        let answered = answered(&found).with_context(|| format!("{} under {load:?}", target.name))?;
        let figure =
            |part: &str, name: &str| found[part][name].as_f64().with_context(|| format!("oha says no {part}.{name}"));
        let milliseconds = |name: &str| anyhow::Ok(figure("latencyPercentiles", name)? * 1e3);
        Ok(Outcome {
            cpu_per_review: cpu.as_secs_f64() * 1e6 / answered,
            rate: answered / figure("summary", "total")?,
            p50: milliseconds("p50")?,
            p99: milliseconds("p99")?,
            p999: milliseconds("p99.9")?,
        })
    }

    fn command(&self, target: &Target, load: Load<'_>) -> Command {
        let Load { body, protocol, connections, rate, time } = load;
        let mut command = on_core(self.core, &self.oha);
        command.args(["--no-tui", "--output-format", "json", "--worker-threads", "1", "-w"]);
        command.args(["-z", &format!("{}ms", time.as_millis()), "-c", &connections.to_string()]);
        command.args(["-m", "POST", "-T", "application/json", "-D"]).arg(body);
        if protocol == Protocol::Http2 {
            command.arg("--http2");
        }
        if let Some(rate) = rate {
            command.args(["-q", &format!("{rate:.0}"), "--latency-correction"]);
        }
        match &target.authority {
            Some(authority) => command.arg("--cacert").arg(authority),
            None => command.arg("--insecure"),
        };
        command.arg(&target.url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// How many calls were answered by 200.
fn answered(found: &Value) -> anyhow::Result<f64> {
    let mut answered = 0.0;
    let mut failed = Vec::new();
    for (code, count) in found["statusCodeDistribution"].as_object().into_iter().flatten() {
        match code.as_str() {
            "200" => answered = count.as_f64().unwrap_or(0.0),
            _ => failed.push(format!("{count} answers were {code}")),
        }
    }
    for (error, count) in found["errorDistribution"].as_object().into_iter().flatten() {
        // What oha itself gave up when the time was over.
        if !error.contains("deadline") {
            failed.push(format!("{count} calls: {error}"));
        }
    }
    if !failed.is_empty() {
        bail!("calls failed: {}", failed.join("; "));
    }
    if answered < 1.0 {
        bail!("no call was answered: {found}");
    }
    Ok(answered)
}
