//! What the load can be told: its command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

/// What mirrorgate costs under load, beside a webhook that does nothing.
///
/// Starts two servers on this machine, in the same build profile: the ceiling (mirrorgate's listener, TLS, HTTP and runtime, with a handler
/// that reads the body and answers a constant) and `mirrorgate serve --policy`, whose mirror is a small TLS registry of this
/// program on the loopback range. Both have one core, the same one, and are driven in turn (A B A B ...) from another by oha, with the same bodies:
/// 4.5 kB with 2 containers, and 53 kB with 72 (benches/scene/bodies.rs), over HTTP/1.1 and HTTP/2, on 1, 8 and 64 connections.
///
/// Measured, as the median of the rounds with the least and the most:
/// CPU per review (run time of the server's threads as the kernel counts it, divided by the answers: the figure to trust, as one
/// core of load cannot fill one of the server), its ratio to the ceiling round by round, rate, p50, p99 and p99.9; p99 at half of the saturated rate
/// (oha -q, with --latency-correction), at the same rate for both; start to first answer; memory;
/// and what a policy of 10,000 hosts does that is put in force under load.
///
/// Progress goes to stderr, the tables to stdout, in Markdown, as they stand in benches/README.md. A call that fails ends the run: exit code 1.
/// That a mark is missed does not; the table says it.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "benches/load/run", bin_name = "benches/load/run", max_term_width = 110)]
pub(crate) struct Settings {
    /// Rounds: one of each server in turn
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long one server is driven in one round
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = mirrorgate::policy::parse_duration)]
    pub(crate) time: Duration,
    /// One round of one second each: to see that it works, no figures
    #[arg(long, conflicts_with_all = ["rounds", "time"])]
    pub(crate) quick: bool,
    /// Only these numbers of connections
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_values_t = [1, 8, 64])]
    pub(crate) connections: Vec<u32>,
    /// Also drive mirrorgate on 64 connections for so many minutes, with its memory every 15 s
    #[arg(long, value_name = "MINUTES")]
    pub(crate) soak: Option<u32>,
    /// Nothing but the soak
    #[arg(long, requires = "soak")]
    pub(crate) only_soak: bool,
    /// Another webhook to compare: the URL that reviews are sent to, the process that answers, and its CA in PEM (without one its
    /// certificate is not verified). Put it on the server's core yourself: taskset -a -c -p CORE PID
    #[arg(long, value_name = "NAME=URL,PID[,CA]")]
    pub(crate) peer: Vec<Peer>,
    /// Measure this mirrorgate, and not the one that was built beside
    #[arg(long, value_name = "FILE")]
    pub(crate) mirrorgate: Option<PathBuf>,
    /// The form of mirrorgate's log, which goes into a pipe that is read; the manifests have json
    #[arg(long, value_name = "FORM", default_value = "json", value_parser = ["json", "text"])]
    pub(crate) log_format: String,
    /// The core of the servers [default: the last one that there is]
    #[arg(long, value_name = "CORE")]
    pub(crate) server_core: Option<u32>,
    /// The core of oha and of this program [default: the first one]
    #[arg(long, value_name = "CORE")]
    pub(crate) generator_core: Option<u32>,
    /// oha
    #[arg(long, value_name = "FILE", default_value = "oha")]
    pub(crate) oha: PathBuf,
    /// The ceiling
    #[arg(long, value_name = "FILE", default_value = "ceiling")]
    pub(crate) ceiling: PathBuf,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Settings {
    /// With what `--quick` means.
    pub(crate) fn effective(mut self) -> Self {
        if self.quick {
            self.rounds = 1;
            self.time = Duration::from_secs(1);
        }
        self
    }
}

/// A webhook that somebody else started.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pid: u32,
    pub(crate) authority: Option<PathBuf>,
}

impl FromStr for Peer {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rest) = text.split_once('=').context("it must be NAME=URL,PID[,CA]")?;
        let mut parts = rest.split(',');
        let (Some(url), Some(pid)) = (parts.next(), parts.next()) else { bail!("it must be NAME=URL,PID[,CA]") };
        if !url.starts_with("https://") {
            bail!("the URL must begin with https://");
        }
        let pid = pid.parse().with_context(|| format!("{pid:?} is no process id"))?;
        Ok(Self { name: name.to_owned(), url: url.to_owned(), pid, authority: parts.next().map(PathBuf::from) })
    }
}
