//! Lines on their way to stderr, gathered for a moment where there are many: a system call for each, and waking whoever reads them, would cost
//! more than the review that a line is about (benches/README.md).

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line waits for others, behind one that was written. So the writer wakes 200 times a second at most, or for enough.
const MOMENT: Duration = Duration::from_millis(5);
/// Bytes that wait for no others: as many as a pipe holds.
const ENOUGH: usize = 64 * 1024;
/// Where so many bytes are waiting, nobody reads; whoever has a line waits, too.
const MOST: usize = 1024 * 1024;
/// How long the end of the process waits for whoever reads.
const GOODBYE: Duration = Duration::from_secs(1);

/// Lines for stderr. A thread writes them, in their order.
#[derive(Clone, Debug)]
pub(super) struct GatheredLines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// There are lines, or reasons not to wait for more.
    came: Condvar,
    /// Lines were written.
    went: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
    /// Whether those that wait do so no longer.
    are_urgent: bool,
    /// Whether some are being written.
    are_leaving: bool,
}

impl GatheredLines {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn to_stderr() -> io::Result<Self> {
        Self::to(io::stderr(), MOMENT)
    }

    fn to(out: impl io::Write + Send + 'static, moment: Duration) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write(out, moment))?;
        Ok(lines)
    }

    /// Takes a line with its line break. An urgent one, and what is before it, goes out at once.
    pub(super) fn push(&self, line: &[u8], is_urgent: bool) {
        let shared = &*self.0;
        let mut lines = shared.lines();
        while lines.waiting.len() >= MOST {
            lines = shared.went.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        let had_enough = lines.is_enough();
        let is_first = lines.waiting.is_empty();
        lines.waiting.extend_from_slice(line);
        lines.are_urgent |= is_urgent;
        let is_news = is_first || lines.is_enough() && !had_enough;
        drop(lines);
        if is_news {
            shared.came.notify_one();
        }
    }

    /// Waits until everything is written, or nobody takes it.
    pub(super) fn flush(&self) {
        let shared = &*self.0;
        let mut lines = shared.lines();
        lines.are_urgent = true;
        shared.came.notify_one();
        let there_are_some = |lines: &mut Lines| lines.are_leaving || !lines.waiting.is_empty();
        let _out_of_time = shared.went.wait_timeout_while(lines, GOODBYE, there_are_some);
    }
}

impl Lines {
    fn is_enough(&self) -> bool {
        self.are_urgent || self.waiting.len() >= ENOUGH
    }
}

impl Shared {
    /// For ever.
    fn write(&self, mut out: impl io::Write, moment: Duration) {
        let mut leaving = Vec::new();
        let mut written: Option<Instant> = None;
        loop {
            let lines = self.came.wait_while(self.lines(), |lines| lines.waiting.is_empty());
            let lines = lines.unwrap_or_else(PoisonError::into_inner);
            let left = written.map_or(Duration::ZERO, |written| moment.saturating_sub(written.elapsed()));
            let gathered = self.came.wait_timeout_while(lines, left, |lines| !lines.is_enough());
            let (mut lines, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut lines.waiting, &mut leaving);
            (lines.are_urgent, lines.are_leaving) = (false, true);
            drop(lines);
            // Nobody is left to tell that stderr is gone.
            let _gone = out.write_all(&leaving).and_then(|()| out.flush());
            leaving.clear();
            // What one long line took is not kept.
            leaving.shrink_to(2 * ENOUGH);
            written = Some(Instant::now());
            self.lines().are_leaving = false;
            self.went.notify_all();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Plain values that are whole after every statement.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    /// Hands on each write, and waits until it is taken.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(moment: Duration) -> (GatheredLines, mpsc::Receiver<Vec<u8>>) {
        let (sender, written) = mpsc::sync_channel(0);
        (GatheredLines::to(Pipe(sender), moment).unwrap(), written)
    }

    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn lines_are_gathered_until_one_is_urgent_or_there_are_many() {
        let (lines, written) = lines(FOR_EVER);
        lines.push(b"first\n", false);
        assert_eq!(written.recv().unwrap(), b"first\n");
        lines.push(b"b\n", false);
        lines.push(b"c\n", true);
        assert_eq!(written.recv().unwrap(), b"b\nc\n");
        lines.push(b"d\n", false);
        lines.push(&vec![b'x'; ENOUGH], false);
        assert_eq!(written.recv().unwrap().len(), 2 + ENOUGH);
    }

    #[test]
    fn each_of_a_few_lines_goes_out_by_itself() {
        let (lines, written) = lines(MOMENT);
        for line in ["a\n", "b\n", "c\n"] {
            lines.push(line.as_bytes(), false);
            assert_eq!(written.recv().unwrap(), line.as_bytes());
        }
    }

    #[test]
    fn whoever_has_a_line_waits_where_nobody_reads() {
        let (lines, written) = lines(MOMENT);
        let line = vec![b'x'; MOST];
        lines.push(&line, false);
        // Another goes out with the first, or waits behind it; a third finds no room.
        let pusher = thread::spawn(move || {
            lines.push(&vec![b'y'; MOST], false);
            lines.push(b"z", false);
            lines
        });
        thread::sleep(20 * MOMENT);
        assert!(!pusher.is_finished());
        let mut all = Vec::new();
        while all.last() != Some(&b'z') {
            all.extend(written.recv().unwrap());
        }
        assert_eq!(all.len(), 2 * MOST + 1);
        pusher.join().unwrap().flush();
    }

    #[test]
    fn the_end_of_the_process_waits_for_what_was_said() {
        let (lines, written) = lines(FOR_EVER);
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            (Instant::now(), written.recv().unwrap())
        });
        lines.push(b"stopped\n", false);
        lines.flush();
        let ended = Instant::now();
        let (read, line) = reader.join().unwrap();
        assert_eq!(line, b"stopped\n");
        assert!(read <= ended);
    }

    #[test]
    fn and_not_for_ever() {
        let (lines, _written) = lines(FOR_EVER);
        lines.push(b"a\n", false);
        let started = Instant::now();
        lines.flush();
        assert!(started.elapsed() >= GOODBYE);
    }
}
