//! The API server: whether it is new enough.

use k8s_openapi::apimachinery::pkg::version::Info;

use crate::image::Escaped;

use super::facts::Facts;
use super::finding::Finding;

const CHECK: &str = "api-server";

/// `matchConditions` and ValidatingAdmissionPolicy are stable from here.
const OLDEST: (u32, u32) = (1, 30);

/// The most characters of a version.
const MOST_CHARS: usize = 40;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let info = match &facts.version {
        Ok(info) => info,
        Err(why) => return vec![Finding::unread(CHECK, "the version of Kubernetes", why)],
    };
    let version = Escaped::cut(&info.git_version, MOST_CHARS);
    vec![match numbers(info) {
        Some(numbers) if numbers >= OLDEST => Finding::ok(CHECK, format!("Kubernetes {version}")),
        Some(_) => Finding::fault(
            CHECK,
            format!("Kubernetes {version} is too old: the webhooks' matchConditions need {}.{}", OLDEST.0, OLDEST.1),
        ),
        None => Finding::unknown(CHECK, format!("the API server calls its version {version}, which says nothing here")),
    }]
}

/// Major and minor; some distributions write a `+` behind the minor.
fn numbers(Info { major, minor, .. }: &Info) -> Option<(u32, u32)> {
    let number = |text: &str| text.trim_end_matches('+').parse().ok();
    Some((number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    #[test]
    fn kubernetes_1_30_is_the_oldest() {
        for (major, minor, state) in [
            ("1", "29", State::Fault),
            ("1", "30", State::Ok),
            ("1", "30+", State::Ok),
            ("1", "36", State::Ok),
            ("2", "0", State::Ok),
            ("1", "", State::Unknown),
        ] {
            let info = Info { major: major.into(), minor: minor.into(), ..Info::default() };
            let findings = check(&Facts { version: Ok(info), ..facts() });
            assert_eq!(findings[0].state, state, "{major}.{minor}");
        }
    }
}
