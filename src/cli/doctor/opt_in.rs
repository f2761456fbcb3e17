//! Which namespaces opted in and how, and labels that look like a slip of the hand.

use crate::image::Escaped;

use super::facts::{Facts, Labelled, MODE, Mode, is_left_out};
use super::finding::{Finding, State, counted, some_of};

const CHECK: &str = "namespaces";
const LABELS: &str = "labels";

/// The parts of the label's key.
const PREFIX: &str = "mirrorgate";
const NAME: &str = "mode";
/// So many letters may be wrong in a key or value that was meant to be ours.
const NEAR: usize = 2;

/// The most characters of somebody's label.
const MOST_CHARS: usize = 80;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let namespaces = match &facts.namespaces {
        Ok(namespaces) => namespaces,
        Err(why) => return vec![Finding::unread(CHECK, "which namespaces opted in", why)],
    };
    let mut findings = vec![opted_in(facts)];
    let slips: Vec<Finding> = namespaces.iter().flat_map(|namespace| slips(namespace, &facts.namespace)).collect();
    if slips.is_empty() {
        findings
            .push(Finding::ok(LABELS, format!("of {} none looks like a slip", counted(namespaces.len(), "namespace"))));
    }
    findings.extend(slips);
    findings
}

fn opted_in(facts: &Facts) -> Finding {
    let names = |wanted| {
        let opted_in = facts.opted_in().into_iter().filter(|(_, mode)| *mode == wanted);
        opted_in.map(|(namespace, _)| namespace.name.as_str()).collect::<Vec<_>>()
    };
    let one = |verb: &str, names: Vec<&str>| match names.len() {
        0 => format!("none {verb}"),
        count => format!("{count} {verb} ({})", some_of(&names)),
    };
    let (enforced, audited) = (names(Mode::Enforce), names(Mode::Audit));
    if enforced.is_empty() && audited.is_empty() {
        let message = "none has opted in, and no pod is seen; the first step is: kubectl label namespace NAMESPACE";
        return Finding::ok(CHECK, format!("{message} {MODE}=audit"));
    }
    Finding::ok(CHECK, format!("{}, {}", one("enforced", enforced), one("audited", audited)))
}

/// What is wrong with the labels of one namespace.
fn slips(namespace: &Labelled, own: &str) -> Vec<Finding> {
    let Labelled { name, labels, annotations, .. } = namespace;
    let mut findings = Vec::new();
    for (key, value) in labels {
        let meant = mode_like(value);
        let shown = format!("{name} has the label {}={}", cut(key), cut(value));
        let label = |mode: &str| match key == MODE {
            true => format!("kubectl label namespace {name} --overwrite {MODE}={mode}"),
            false => format!("kubectl label namespace {name} {key}- {MODE}={mode}"),
        };
        if key == MODE {
            if is_left_out(name, own) {
                let message = format!("{shown}, and its pods are never seen, whatever it says");
                findings
                    .push(Finding::warning(LABELS, message).remedy(format!("kubectl label namespace {name} {MODE}-")));
            } else if !["enforce", "audit"].contains(&value.as_str()) {
                let message = format!("{shown}, which is neither enforce nor audit: its pods pass unseen");
                let remedy = meant.map_or_else(|| format!("kubectl label namespace {name} {MODE}-"), label);
                findings.push(Finding::fault(LABELS, message).remedy(remedy));
            }
        } else if is_like_the_key(key) && !labels.contains_key(MODE) {
            let (state, means) = match meant {
                Some(_) => (State::Fault, "its pods pass unseen"),
                None => (State::Warning, "if that was to opt in, its pods pass unseen"),
            };
            let message = format!("{shown}, and not {MODE}: {means}");
            findings.push(Finding::new(LABELS, state, message).remedy(label(meant.unwrap_or("audit"))));
        }
    }
    for (key, value) in annotations {
        if (key == MODE || is_like_the_key(key)) && mode_like(value).is_some() && !labels.contains_key(MODE) {
            let message = format!(
                "{name} has the annotation {}={}, which is no label: its pods pass unseen",
                cut(key),
                cut(value)
            );
            let mode = mode_like(value).unwrap_or("audit");
            let remedy =
                format!("kubectl annotate namespace {name} {key}- && kubectl label namespace {name} {MODE}={mode}");
            findings.push(Finding::fault(LABELS, message).remedy(remedy));
        }
    }
    findings
}

/// The mode that a value was meant to be.
fn mode_like(value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase();
    ["enforce", "audit"].into_iter().find(|mode| distance(mode, &value) <= NEAR)
}

/// Whether a key that is not ours was meant to be: `mirrorgate.dev/mod`, `mirrorgate.io/mode`, `mirorgate.dev/mode`,
/// `mirrorgate-mode`.
fn is_like_the_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if distance(&key, MODE) <= NEAR || distance(&key, &format!("{PREFIX}/{NAME}")) <= 1 {
        return true;
    }
    let Some((prefix, name)) = key.split_once('/') else { return false };
    let domain = prefix.split('.').next().unwrap_or_default();
    distance(domain, PREFIX) <= NEAR && distance(name, NAME) <= 1
}

/// How many letters have to be changed, added, left out, or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // A label has at most 63 letters behind its prefix; what is much longer is not near.
    if one.len().abs_diff(other.len()) > NEAR {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, opposite) in other.iter().enumerate() {
            let change = above[column] + usize::from(letter != opposite);
            let mut least = change.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *opposite {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[other.len()]
}

fn cut(text: &str) -> Escaped<'_> {
    Escaped::cut(text, MOST_CHARS)
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::facts;
    use super::*;

    fn labelled(name: &str, key: &str, value: &str) -> Labelled {
        Labelled { name: name.to_owned(), labels: [(key.to_owned(), value.to_owned())].into(), ..Labelled::default() }
    }

    fn of(key: &str, value: &str) -> Vec<Finding> {
        slips(&labelled("team-a", key, value), "mirrorgate-system")
    }

    #[test]
    fn a_slip_in_the_value_is_an_open_gate() {
        for (value, mended) in [
            ("Enforce", "enforce"),
            ("enforced", "enforce"),
            ("enfocre", "enforce"),
            ("inforced", "enforce"),
            ("Audit", "audit"),
            ("audti", "audit"),
        ] {
            let findings = of(MODE, value);
            assert_eq!(findings[0].state, State::Fault, "{value}");
            let remedy = format!("kubectl label namespace team-a --overwrite mirrorgate.dev/mode={mended}");
            assert_eq!(findings[0].remedy.as_deref(), Some(&*remedy), "{value}");
        }
        for value in ["off", "true", ""] {
            let findings = of(MODE, value);
            assert_eq!(findings[0].remedy.as_deref(), Some("kubectl label namespace team-a mirrorgate.dev/mode-"));
        }
        for value in ["enforce", "audit"] {
            assert_eq!(of(MODE, value), []);
        }
    }

    #[test]
    fn a_slip_in_the_key_is_seen() {
        for key in [
            "mirrorgate.dev/mod",
            "mirrorgate.dev/modes",
            "mirrorgate.dev/moed",
            "mirrorgate.io/mode",
            "mirrorgate.io/moed",
            "mirrorgate.example.com/mode",
            "mirorgate.dev/mode",
            "mirror-gate.dev/mode",
            "mirrorgat.de/mode",
            "miroregate.dev/mode",
            "mirrorgate/mode",
            "mirrorgate-mode",
            "mirrorgate.dev/Mode",
        ] {
            let findings = of(key, "enforce");
            assert_eq!(findings.first().map(|finding| finding.state), Some(State::Fault), "{key}");
            let remedy = format!("kubectl label namespace team-a {key}- mirrorgate.dev/mode=enforce");
            assert_eq!(findings[0].remedy.as_deref(), Some(&*remedy));
        }
        assert_eq!(of("mirrorgate.io/mode", "blue")[0].state, State::Warning);
        // Who has opted in needs no second label, and may have one.
        let mut both = labelled("team-a", "mirrorgate.io/mode", "enforce");
        both.labels.insert(MODE.to_owned(), "enforce".to_owned());
        assert_eq!(slips(&both, "mirrorgate-system"), []);
        for key in [
            "kubernetes.io/metadata.name",
            "mode",
            "team",
            "mirrorgate.dev/owner",
            "pod-security.kubernetes.io/enforce",
            "mutate.dev/mode",
            "app.kubernetes.io/name",
        ] {
            assert_eq!(of(key, "enforce"), [], "{key}");
        }
    }

    #[test]
    fn an_annotation_is_no_label() {
        let annotated = Labelled {
            name: "team-a".to_owned(),
            annotations: [(MODE.to_owned(), "enforce".to_owned())].into(),
            ..Labelled::default()
        };
        assert_eq!(slips(&annotated, "mirrorgate-system")[0].state, State::Fault);
        let both = Labelled { labels: [(MODE.to_owned(), "enforce".to_owned())].into(), ..annotated };
        assert_eq!(slips(&both, "mirrorgate-system"), []);
        let annotations = [(MODE.to_owned(), "see the wiki".to_owned())].into();
        assert_eq!(slips(&Labelled { labels: [].into(), annotations, ..both }, "mirrorgate-system"), []);
    }

    #[test]
    fn a_label_has_no_effect_where_the_webhooks_are_never_called() {
        for name in ["kube-system", "kube-node-lease", "mirrorgate-system"] {
            let namespace = labelled(name, MODE, "enforce");
            assert_eq!(slips(&namespace, "mirrorgate-system")[0].state, State::Warning);
            assert_eq!(namespace.mode("mirrorgate-system"), None);
        }
    }

    #[test]
    fn who_opted_in_is_told_by_mode() {
        let namespaces = vec![
            labelled("team-a", MODE, "enforce"),
            labelled("team-b", MODE, "audit"),
            labelled("kube-system", MODE, "enforce"),
            labelled("other", "a", "b"),
        ];
        let finding = opted_in(&Facts { namespaces: Ok(namespaces), ..facts() });
        assert_eq!(finding.message, "1 enforced (team-a), 1 audited (team-b)");
        assert_eq!(opted_in(&Facts { namespaces: Ok(Vec::new()), ..facts() }).state, State::Ok);
    }
}
