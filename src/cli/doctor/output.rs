//! The two forms of what was found.

use super::super::paint::Paint;
use super::finding::{Finding, State, counted};

pub(super) fn json(findings: &[Finding]) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(findings)? + "\n")
}

/// A line for each, the remedy beneath, and how many there are of each kind; `quiet` leaves out what is fine.
pub(super) fn text(findings: &[Finding], color: bool, quiet: bool) -> String {
    let paint = Paint { color };
    let states = findings.iter().map(|finding| finding.state.as_str().len()).max().unwrap_or(0);
    let checks = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, state, message, remedy } in findings {
        if quiet && *state == State::Ok {
            continue;
        }
        let word = format!("{:states$}", state.as_str());
        let word = match state {
            State::Ok => paint.green(&word),
            State::Warning => paint.yellow(&word),
            State::Fault => paint.red(&word),
            State::Unknown => paint.cyan(&word),
        };
        text.push_str(&format!("{word}  {check:checks$}  {message}\n"));
        for line in remedy.iter().flat_map(|remedy| remedy.lines()) {
            // What is pasted stands alone in its line.
            let line = format!("{:indent$}{}", "", paint.bold(line), indent = states + checks + 4);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    if !quiet {
        let count = |wanted| findings.iter().filter(|finding| finding.state == wanted).count();
        let summary = [
            counted(count(State::Fault), "fault"),
            counted(count(State::Warning), "warning"),
            format!("{} unknown", count(State::Unknown)),
            format!("{} ok", count(State::Ok)),
        ];
        text.push_str(&format!("{}\n", summary.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_a_remedy_stands_alone_beneath() {
        let findings = [
            Finding::ok("api-server", "Kubernetes v1.36.3"),
            Finding::fault("ca-bundle", "it is empty").remedy("kubectl patch x\nkubectl get y"),
        ];
        let expected = "\
ok     api-server  Kubernetes v1.36.3
fault  ca-bundle   it is empty
                   kubectl patch x
                   kubectl get y
1 fault, 0 warnings, 0 unknown, 1 ok
";
        assert_eq!(text(&findings, false, false), expected);
        let quiet = text(&findings, false, true);
        assert!(quiet.starts_with("fault  ca-bundle") && !quiet.contains("1 ok"), "{quiet}");
        assert!(text(&findings, true, false).contains("\u{1b}[31mfault\u{1b}[0m"));
        let json: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
        assert_eq!(json[0]["remedy"], serde_json::Value::Null);
        assert_eq!((&json[1]["check"], &json[1]["state"]), (&"ca-bundle".into(), &"fault".into()));
    }
}
