//! Figures of the image and of the processes in it: printed, for benches/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::installed::{Installed, archive, figure, layout, policy, run};
use crate::lab::until;
use crate::node::REGISTRY;

/// Bytes of the image, and of memory with nothing to do.
const MOST: u64 = 20_000_000;
const MOST_IDLE: u64 = 18 << 20;

#[test]
fn the_image_is_one_small_file_for_an_unprivileged_user() {
    let (layout, digest) = layout();
    let blob = |digest: &Value| layout.path().join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let json = |digest: &Value| serde_json::from_slice::<Value>(&fs::read(blob(digest)).unwrap()).unwrap();
    let manifest = json(&Value::from(digest));
    let config = json(&manifest["config"]["digest"]);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    let compressed = blob(&layers[0]["digest"]);
    let listed = run(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&compressed));
    let words: Vec<&str> = listed.split_whitespace().collect();
    let [mode, owner, size, .., name] = &words[..] else { panic!("{listed}") };
    assert_eq!((listed.lines().count(), *mode, *owner, *name), (1, "-rwxr-xr-x", "0/0", "mirrorgate"), "{listed}");
    let size: u64 = size.parse().unwrap();
    figure("image, bytes", format!("{size}, compressed {}", fs::metadata(compressed).unwrap().len()));
    assert!(size <= MOST, "{size}");

    let of = |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/mirrorgate"]));
    assert_eq!(of("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(of("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(of("description"), env!("CARGO_PKG_DESCRIPTION"));
    // As `docker load` reads it.
    let loaded: Value = serde_json::from_slice(&fs::read(layout.path().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(loaded[0]["Config"], manifest["config"]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/"));
    run(Command::new("ctr").args(["-n", "tests", "images", "import", "--local"]).arg(archive()));
}

#[tokio::test]
async fn figure_of_the_time_from_start_to_ready_and_of_idle_memory() {
    let installed = Installed::begun(REGISTRY, &policy()).await;
    let mut ready = BTreeMap::new();
    until("both replicas to be ready", 60, async || {
        for replica in installed.replicas().await {
            if replica.get("/readyz").await.is_ok_and(|(status, _)| status == 200) {
                ready.entry(replica.process).or_insert_with_key(|&process| age(process));
            }
        }
        (ready.len() == 2).then_some(())
    })
    .await;
    figure("start of the process to ready, nothing being there before, at most", format!("{:?}", ready.values()));
    installed.ready().await;

    // Another process in the place of each: its address is known before it is there.
    for old in installed.replicas().await {
        run(Command::new("kill").args(["-KILL", &old.process.to_string()]));
        until("the killed replica's next process", 60, async || {
            old.get("/readyz").await.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
        let replicas = installed.replicas().await;
        let new = replicas.iter().find(|replica| replica.address == old.address && replica.process != old.process);
        if let Some(new) = new {
            figure("start of the process to ready, again, at most", format!("{:?}", age(new.process)));
        }
    }
    installed.ready().await;
    // What idle is: nothing to wait for happens.
    tokio::time::sleep(Duration::from_secs(20)).await;
    for replica in installed.replicas().await {
        let resident = replica.resident();
        figure("resident, idle, bytes", resident);
        assert!(resident <= MOST_IDLE, "{resident}");
    }
}

/// How long ago a process was started.
fn age(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // In hundredths of a second since the machine's start, whatever its clock.
    let started: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    Duration::from_secs_f64(uptime - started as f64 / 100.0)
}
