//! The tasks of the process: each has a name and this one owner. Dropping it ends them.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Running tasks by name.
#[derive(Debug)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    pub(super) fn new() -> Tasks {
        Tasks { set: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task that runs as long as the process. What it returns is of no interest, that it returned is.
    pub(super) fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future + Send + 'static,
    {
        let handle = self.set.spawn(async move {
            task.await;
        });
        self.names.insert(handle.id(), name);
    }

    /// The name of the next task that ends, by itself or in a panic. Waits for ever when there is none.
    pub(super) async fn next_end(&mut self) -> &'static str {
        let id = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(error = %error, "a task ended in a bug");
                error.id()
            }
            None => std::future::pending().await,
        };
        self.names.remove(&id).unwrap_or("without a name")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_is_named_also_when_it_panics() {
        let mut tasks = Tasks::new();
        tasks.spawn("for ever", std::future::pending::<()>());
        tasks.spawn("short", async {});
        assert_eq!(tasks.next_end().await, "short");
        tasks.spawn("broken", async { panic!("on purpose") });
        assert_eq!(tasks.next_end().await, "broken");
    }
}
