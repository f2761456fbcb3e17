//! An event as one line of JSON: `timestamp`, `level`, `message`, and its fields beside them.

use std::cell::Cell;
use std::error::Error;
use std::fmt;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::json::Writer;

/// Where the JSON of one event is put together: kept by each thread from event to event, while it is no larger than this.
const KEPT: usize = 16 * 1024;

thread_local! {
    static LINE: Cell<Writer> = Cell::default();
}

/// Hands each event to a function, as a line with its line break, and its level.
#[derive(Debug)]
pub struct JsonLines<F> {
    take: F,
}

impl<F: Fn(&[u8], Level)> JsonLines<F> {
    /// `take` is called on the thread of the event.
    pub fn new(take: F) -> Self {
        Self { take }
    }
}

impl<S: Subscriber, F: Fn(&[u8], Level) + 'static> Layer<S> for JsonLines<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let mut line = LINE.take();
        line.raw(r#"{"timestamp":""#).display_raw(format_args!("{:.6}", Timestamp::now()));
        line.raw(r#"","level":""#).raw(level.as_str()).raw("\"");
        event.record(&mut Fields(&mut line));
        line.raw("}\n");
        (self.take)(line.as_str().as_bytes(), level);
        if line.as_str().len() <= KEPT {
            line.clear();
            LINE.set(line);
        }
    }
}

/// Writes `,"name":value` for each field.
struct Fields<'a>(&'a mut Writer);

impl Fields<'_> {
    fn field(&mut self, field: &Field) -> &mut Writer {
        self.0.raw(",").string(field.name()).raw(":")
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field).display(format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field).string(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field).raw(if value { "true" } else { "false" });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field).number(value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field).number(value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let json = self.field(field);
        if value.is_finite() {
            json.display_raw(format_args!("{value}"));
        } else {
            json.raw("null");
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.field(field).display(format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The lines of what `log` says, each with its level.
    fn lines(log: impl FnOnce()) -> Vec<(Value, Level)> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&lines);
        let layer = JsonLines::new(move |line: &[u8], level| {
            let (last, line) = line.split_last().unwrap();
            assert_eq!((*last, line.contains(&b'\n')), (b'\n', false));
            taken.lock().unwrap().push((serde_json::from_slice(line).unwrap(), level));
        });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        Arc::into_inner(lines).unwrap().into_inner().unwrap()
    }

    #[test]
    fn an_event_is_a_line_with_its_fields_as_json_has_them() {
        let name = "a\"b\\c\nd\u{1b}\u{2028}é";
        let error = std::io::Error::other("no \"room\"");
        let lines = lines(|| {
            tracing::info!(
                text = name, shown = %name, debug = ?Some(1), yes = true, count = 7_u64, less = -7, ms = 0.125, large = 1e300,
                no_number = f64::NAN, error = &error as &dyn Error, absent = None::<u64>,
                "review of {name}"
            );
            tracing::error!("again");
        });
        let [(line, Level::INFO), (again, Level::ERROR)] = &lines[..] else { panic!("{lines:?}") };
        let mut line = line.clone();
        let at: Timestamp = line["timestamp"].take().as_str().unwrap().parse().unwrap();
        assert!(at.duration_until(Timestamp::now()).as_secs().abs() < 60, "{at}");
        assert_eq!(
            line,
            json!({
                "timestamp": null, "level": "INFO", "message": format!("review of {name}"),
                "text": name, "shown": name, "debug": "Some(1)", "yes": true, "count": 7, "less": -7, "ms": 0.125, "large": 1e300,
                "no_number": null, "error": "no \"room\"",
            })
        );
        assert_eq!((&again["message"], &again["level"]), (&json!("again"), &json!("ERROR")));
    }
}
