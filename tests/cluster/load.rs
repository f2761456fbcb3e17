//! Many pods, through the Service, with the pauses at which connections are closed.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::lab::Lab;
use crate::mirrorgate;
use crate::pods::{MIRROR, images, pod};

/// From, to (seconds), pods. The API server keeps up to 25 idle connections and closes them after 90 s: a server that
/// does so earlier loses the calls that meet the moment.
const STRETCHES: [(f64, f64, usize); 5] =
    [(0.0, 24.0, 800), (111.5, 115.5, 200), (115.5, 127.5, 400), (214.5, 219.5, 200), (219.5, 240.0, 400)];

#[tokio::test]
async fn trap_36_two_thousand_pods_in_four_minutes_with_pauses_lose_no_call() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let start = Instant::now();
    let (mut made, mut failed) = (0, Vec::new());
    let rewritten = format!("{MIRROR}/docker.io/library/nginx:1.27");
    let mut check = |result: Result<_, kube::Error>| match result {
        Ok(pod) if images(&pod) == [&rewritten] => made += 1,
        Ok(pod) => failed.push(format!("{:?}", images(&pod))),
        Err(error) => failed.push(error.to_string()),
    };
    let mut running = FuturesUnordered::new();
    for (from, to, pods) in STRETCHES {
        for n in 0..pods {
            let due = start + Duration::from_secs_f64(from + (to - from) * n as f64 / pods as f64);
            let tick = tokio::time::sleep_until(due.into());
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    Some(result) = running.next() => check(result),
                    () = &mut tick => break,
                }
            }
            running.push(lab.create(&namespace, pod(&["nginx:1.27"])));
        }
    }
    while let Some(result) = running.next().await {
        check(result);
    }
    assert_eq!((made, failed), (2000, Vec::new()));
    assert!(mirrorgate::ready().await.is_ok());
}
