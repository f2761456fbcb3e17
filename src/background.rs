//! Long work beside the reviews, on threads that give way to those that serve.

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// As `nice` has it: where both want a processor, a thread that serves gets nine times as much of it.
const NICENESS: i32 = 10;

/// Does work on a thread that gives way, and waits for it. A panic goes on here. The thread is one of tokio's for blocking work,
/// and gives way from then on, until it is idle for 10 s.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = spawn_blocking(|| {
        // Of this thread, on Linux. Where that is not allowed the work takes what it takes.
        let _forbidden = rustix::process::setpriority_process(None, NICENESS);
        work()
    });
    match done.await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it whoever waits.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn the_thread_gives_way_and_the_others_do_not() {
        let before = niceness();
        assert_eq!(run(niceness).await, NICENESS.max(before));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    #[should_panic(expected = "the work's own")]
    async fn a_panic_goes_on_where_the_work_is_waited_for() {
        run(|| panic!("the work's own")).await
    }
}
