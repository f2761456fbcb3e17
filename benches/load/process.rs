//! Processes: the servers under load, started, measured and ended here, and where on the machine they run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::scene::memory::status;

/// For a server to listen, and for a policy to be in force.
const BOUND: Duration = Duration::from_secs(20);

/// The core of the servers, and that of everything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: u32,
    pub(crate) generator: u32,
}

impl Cores {
    /// The last core that this process may use, and the first, unless others were asked for. Moves this process to the latter.
    pub(crate) fn take(server: Option<u32>, generator: Option<u32>) -> anyhow::Result<Cores> {
        let allowed = allowed_cores("self")?;
        let (Some(first), Some(last)) = (allowed.first(), allowed.last()) else { bail!("no core may be used") };
        let cores = Cores { server: server.unwrap_or(*last), generator: generator.unwrap_or(*first) };
        if cores.server == cores.generator {
            bail!("server and load need a core each; this process may use {allowed:?} only");
        }
        let pid = std::process::id().to_string();
        let moved = Command::new("taskset").args(["-a", "-c", "-p", &cores.generator.to_string(), &pid]).output();
        let moved = moved.context("taskset (package util-linux)")?;
        if !moved.status.success() {
            bail!("taskset: {}", String::from_utf8_lossy(&moved.stderr).trim());
        }
        Ok(cores)
    }
}

/// The cores that a process may use. `self` is this one.
pub(crate) fn allowed_cores(process: &str) -> anyhow::Result<Vec<u32>> {
    let list = status(process, "Cpus_allowed_list:")?;
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u32>().with_context(|| format!("cores {list:?} of process {process}"));
        cores.extend(number(first)?..=number(last)?);
    }
    Ok(cores)
}

/// A command that ends with this process, however that comes, on this core.
pub(crate) fn on_core(core: u32, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", &core.to_string()]).arg(program);
    command
}

/// How long the threads of a process have run, as the scheduler counts it: to the nanosecond, in the kernel and out of it.
#[derive(Clone, Debug)]
pub(crate) struct RunTime(BTreeMap<String, u64>);

impl RunTime {
    pub(crate) fn of(pid: u32) -> anyhow::Result<RunTime> {
        let folder = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(&folder).with_context(|| format!("{folder}: has the process ended?"))? {
            let thread = thread.with_context(|| folder.clone())?;
            // A thread may end while we read.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let nanoseconds = text.split(' ').next().and_then(|figure| figure.parse().ok());
            let nanoseconds = nanoseconds.with_context(|| format!("{}/schedstat", thread.path().display()))?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), nanoseconds);
        }
        Ok(RunTime(threads))
    }

    /// Of the threads that there are now.
    pub(crate) fn since(&self, before: &RunTime) -> Duration {
        let threads = self.0.iter();
        Duration::from_nanos(threads.map(|(id, now)| now - before.0.get(id).copied().unwrap_or(0)).sum())
    }
}

/// A server that was started here; it ends with this value.
pub(crate) struct Server {
    child: Child,
    name: &'static str,
    news: Receiver<News>,
    pub(crate) address: SocketAddr,
    pub(crate) started: Instant,
}

/// A line of a log that is not about a review.
struct News {
    line: String,
    at: Instant,
}

impl Server {
    /// Starts it, and waits until it says where it listens.
    pub(crate) fn start(name: &'static str, mut command: Command) -> anyhow::Result<Server> {
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child =
            child.with_context(|| format!("starting {name} by setpriv and taskset (package util-linux)"))?;
        let (sender, news) = mpsc::channel();
        let log = child.stderr.take().context("its log is piped")?;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { child, name, news, address: nowhere, started };
        thread::Builder::new().name(format!("log of {name}")).spawn(move || drain(log, &sender)).context("a thread")?;
        let (line, _) = server.wait_for("listening")?;
        server.address =
            https_address(&line).with_context(|| format!("{name} says {line:?} and not where it listens"))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its log with these words, and says when it came.
    pub(crate) fn wait_for(&mut self, words: &str) -> anyhow::Result<(String, Instant)> {
        let end = Instant::now() + BOUND;
        let mut log = String::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(news) if news.line.contains(words) => return Ok((news.line, news.at)),
                Ok(news) => log.push_str(&news.line),
                Err(error) => bail!("{} does not say {words:?} ({error}); its log:\n{log}", self.name),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Reads a log to its end, so that its writer never waits, and hands on what is said beside the reviews.
fn drain(log: ChildStderr, news: &Sender<News>) {
    let mut log = BufReader::with_capacity(1 << 18, log);
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|length| length > 0) {
        if !line.contains("\"message\":\"review\"") && !line.contains(" review uid=") {
            // Nobody listens when the server is about to end.
            let _heard = news.send(News { line: line.clone(), at: Instant::now() });
        }
        line.clear();
    }
}

/// The address behind `https` in a line of either form.
fn https_address(line: &str) -> Option<SocketAddr> {
    let (_, behind) = line.split_once("https")?;
    let address = behind.trim_start_matches(['"', ':', '=']);
    address.split(['"', ' ', '\n']).next()?.parse().ok()
}
