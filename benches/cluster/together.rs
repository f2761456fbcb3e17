//! What a large cluster takes of mirrorgate: pull secrets, hosts and verdicts, one after another and in the end all together.
//! Memory, and how long it takes a process that was killed and is started again to rewrite its first pod.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::lab::{Lab, part, until};
use crate::mirrorgate::{self, PART};
use crate::registry::{self, Authority, Registry};
use crate::scene::marks::Mark;
use crate::scene::memory::Memory;
use crate::scene::spread::Spread;
use crate::ways;

/// How much of each.
pub(crate) struct Size {
    pub(crate) secrets: usize,
    pub(crate) hosts: usize,
    pub(crate) verdicts: usize,
    /// How often mirrorgate is started at each step.
    pub(crate) starts: usize,
}

/// MiB, and seconds.
const MARKS: (f64, f64) = (60.0, 1.0);

/// Requests to the API server at once; pods are fewer, as each of them waits for a registry.
const AT_ONCE: usize = 32;
const PODS_AT_ONCE: usize = 8;

const DOMAIN: &str = "many.test";

/// One step, as a line of the table.
struct Step {
    what: String,
    starts: Vec<Start>,
    memory: Memory,
}

/// Seconds from the call of the script that starts the process, which takes some 10 ms of them.
#[derive(Debug)]
struct Start {
    /// To the first pod that it has rewritten.
    pod: f64,
    /// Until it says that it is ready, and knows every pull secret.
    ready: f64,
}

/// Fills the lab, which is good for nothing else then, and returns the table.
pub(crate) async fn measure(lab: &Lab, authority: &Authority, size: &Size) -> anyhow::Result<String> {
    // Nothing else is to be put into the namespaces.
    let namespace = ways::namespace(lab).await;
    part("stop", "kcm", "TERM");
    let registry = Registry::start(&name(0), 0, &authority.serving(&[&format!("*.{DOMAIN}")]));
    let port = registry.host.rsplit(':').next().context("a registry's port")?.to_owned();
    let trust = format!("{}  registries: [\"*.{DOMAIN}:{port}\"]\n", ways::trust(authority));
    let policy = |hosts| crate::scene::policy(hosts) + &trust;

    mirrorgate::under(lab, &policy(10)).await;
    let mut steps = vec![started(lab, &namespace, size, "a policy of 10 hosts, few pull secrets".to_owned()).await?];
    pull_secrets(lab, size.secrets).await?;
    steps.push(started(lab, &namespace, size, format!("and {} pull secrets", count(size.secrets))).await?);
    let secrets = mirrorgate::metric("mirrorgate_watch_objects_total", "secrets").await;
    ensure!(secrets >= size.secrets as f64, "mirrorgate was told of {secrets} secrets only");
    mirrorgate::under(lab, &policy(size.hosts)).await;
    steps.push(started(lab, &namespace, size, format!("and a policy of {} hosts", count(size.hosts))).await?);
    verdicts(lab, &namespace, &port, size.verdicts).await?;
    let what = format!("and {} verdicts", count(size.verdicts));
    steps.push(Step::of(what, Vec::new()).await?);
    ensure!(registry.dialled() >= size.verdicts, "mirrorgate dialled {} times only", registry.dialled());
    Ok(table(&steps))
}

impl Step {
    async fn of(what: String, starts: Vec<Start>) -> anyhow::Result<Self> {
        // What was taken for a moment is given back by then, or it is not.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let memory = Memory::of(mirrorgate::process().context("mirrorgate has ended")?)?;
        eprintln!("{what}: {starts:?}, {memory:?}");
        Ok(Self { what, starts, memory })
    }
}

/// Starts mirrorgate anew, and again.
async fn started(lab: &Lab, namespace: &str, size: &Size, what: String) -> anyhow::Result<Step> {
    let mut starts = Vec::new();
    for _ in 0..size.starts {
        // Not asked to end, as it would wait for the API server's idle connections.
        part("stop", PART, "KILL");
        let start = Instant::now();
        part("start", PART, "TERM");
        let elapsed = || Some(start.elapsed().as_secs_f64());
        let pod = until("a pod that is rewritten", 30, async || {
            let made = lab.dry_run(namespace, ways::pod()).await.ok()?;
            ways::is_rewritten(&made).then(elapsed)?
        });
        let ready = until("mirrorgate", 30, async || mirrorgate::ready().await.ok().and_then(|()| elapsed()));
        let (pod, ready) = tokio::join!(pod, ready);
        starts.push(Start { pod, ready });
    }
    Step::of(what, starts).await
}

/// One in a namespace of its own each, with a registry of its own: what is alike is kept once.
async fn pull_secrets(lab: &Lab, count: usize) -> anyhow::Result<()> {
    eprintln!("{count} namespaces with a pull secret");
    let namespaces = Api::<Namespace>::all(lab.client.clone());
    stream::iter((0..count).map(anyhow::Ok))
        .try_for_each_concurrent(AT_ONCE, async |number| {
            let name = format!("many-{number}");
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            namespaces.create(&PostParams::default(), &namespace).await?;
            let secrets = Api::<Secret>::namespaced(lab.client.clone(), &name);
            let secret = serde_json::from_value(ways::pull_secret(&format!("registry-{number}.example.com")))?;
            secrets.create(&PostParams::default(), &secret).await?;
            Ok(())
        })
        .await
}

/// Has mirrorgate asked about a pod of each of these registries.
async fn verdicts(lab: &Lab, namespace: &str, port: &str, count: usize) -> anyhow::Result<()> {
    eprintln!("pods from {count} registries");
    (0..count).for_each(|number| registry::name_in_the_lab(&name(number)));
    let pods = stream::iter(0..count).map(|number| async move {
        let mut pod = ways::pod();
        pod["spec"]["containers"][0]["image"] = json!(format!("{}:{port}/team/app:1.27", name(number)));
        lab.dry_run(namespace, pod).await.map_err(anyhow::Error::msg)
    });
    pods.buffer_unordered(PODS_AT_ONCE).try_for_each(async |_made| Ok(())).await?;
    let trusted = mirrorgate::metric("mirrorgate_probes_total", "verdict=\"trusted\"").await;
    // The mirror is one of them.
    ensure!(trusted > count as f64, "{trusted} registries are trusted");
    until("the verdicts to be counted", 30, async || {
        (mirrorgate::metric("mirrorgate_verdict_cache_entries", "").await > count as f64).then_some(())
    })
    .await;
    Ok(())
}

fn name(number: usize) -> String {
    format!("registry-{number:04}.{DOMAIN}")
}

/// `10,000`
fn count(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

fn table(steps: &[Step]) -> String {
    let mut page = String::from(
        "| step by step more | start to the first pod rewritten, s | start to ready, s | resident, MiB | the most since its start, MiB |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let mut slowest = Spread::of([0.0]);
    for Step { what, starts, memory } in steps {
        let mut seconds = |of: fn(&Start) -> f64| {
            if starts.is_empty() {
                return String::new();
            }
            let spread = Spread::of(starts.iter().map(of));
            if spread.median > slowest.median {
                slowest = spread;
            }
            format!("{spread:.2}")
        };
        let (pod, ready) = (seconds(|start| start.pod), seconds(|start| start.ready));
        // Writing to a `String` does not fail.
        let _ = writeln!(page, "| {what} | {pod} | {ready} | {:.1} | {:.1} |", memory.resident, memory.most);
    }
    let resident = Spread::of(steps.last().map(|step| step.memory.resident));
    let slowest_what = "start to a pod or to ready, whichever takes longer, median of the slowest step";
    let marks = [
        Mark::at_most("memory with all of it together", resident, MARKS.0, " MiB", 1),
        Mark::at_most(slowest_what, slowest, MARKS.1, " s", 2),
    ];
    page + "\n" + &Mark::table(&marks)
}
