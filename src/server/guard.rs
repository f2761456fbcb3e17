//! The policy guard: one review of the policy ConfigMap. A document that would not be obeyed is refused in the words of
//! `mirrorgate check` (trap 28), a dangerous one gets warnings.
//!
//! It decides by the documents alone, so that it can before the first policy is in force. Which objects are sent here is for the webhook
//! configuration to say; whatever else comes is allowed.

use std::borrow::Cow;

use tokio::time::Instant;
use tracing::info;

use super::policy_review::{self, Operation, PolicyReview, Refused};
use super::refusal::Refusal;
use super::wire::BadReview;
use crate::app::App;
use crate::cluster::{POLICY_CONFIG_MAP, POLICY_KEY};
use crate::image::Escaped;
use crate::policy::{Examined, Fault, Policy, dangers};
use crate::telemetry::milliseconds;

/// What stands for the mode in metrics and logs.
pub(super) const MODE: &str = "policy";

/// The most bytes of drawn faults in a refusal: some screens.
const MOST_DRAWN: usize = 16 * 1024;
/// With so many of so many characters, the API server passes all on whole (A6: 4096).
const MOST_WARNINGS: usize = 16;
const MOST_WARNING_CHARS: usize = 250;
/// The most characters of a name from the request in the log.
const MOST_NAME_CHARS: usize = 253;

/// Who says so is named: a document for a newer version can meet the guard of an older one.
const REFUSED: &str =
    concat!("mirrorgate ", env!("CARGO_PKG_VERSION"), " would not obey this policy; the one in force stays");
const NO_KEY: &str = "the ConfigMap has no key policy.yaml under data; put the policy document there (kubectl create configmap: \
                      --from-file=policy.yaml=FILE)";
const UNMENDED: &str = "the policy in this ConfigMap was broken before and still is; the last good one stays in force";
const DELETED: &str = "the last good policy stays in force until mirrorgate restarts; without a policy it does not become \
                       ready then, and new pods of enforced namespaces are refused";

/// Answers one review.
///
/// # Errors
/// 400 for a body that is no review (A2): never a denial.
pub(super) fn review(app: &App, body: &[u8]) -> Result<String, Refusal> {
    let started = Instant::now();
    // As for pods: Go reads U+FFFD there, too.
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let judged = PolicyReview::parse(&text).and_then(|review| {
        let in_force = app.policy();
        let judgement = judge(&review, app.namespace(), in_force.as_ref().map(|loaded| &loaded.policy))?;
        Ok((review, judgement))
    });
    let seconds = || started.elapsed().as_secs_f64();
    match judged {
        Ok((review, judgement)) => {
            let result = if judgement.refused.is_none() { "allowed" } else { "denied" };
            app.metrics().admission(MODE, review.operation().as_str(), result, seconds());
            log(&review, &judgement, result, seconds());
            Ok(policy_review::answer(&review.uid, judgement.refused.as_ref(), &judgement.warnings))
        }
        Err(bad) => {
            let refusal = Refusal::bad_review(bad);
            app.metrics().admission(MODE, "OTHER", "error", seconds());
            info!(mode = MODE, decision = "error", code = refusal.status, error = %refusal.message, "review");
            Err(refusal)
        }
    }
}

/// What is said to an edit.
#[derive(Default)]
struct Judgement {
    refused: Option<Refused>,
    warnings: Vec<String>,
}

impl Judgement {
    fn refuse(text: &str, faults: Vec<Fault>) -> Self {
        Self { refused: Some(Refused { message: format!("{REFUSED}\n\n{text}"), faults }), warnings: Vec::new() }
    }

    fn warn(warnings: impl IntoIterator<Item = String>) -> Self {
        let mut warnings: Vec<String> = warnings
            .into_iter()
            .map(|warning| Escaped::cut(&format!("mirrorgate: {warning}"), MOST_WARNING_CHARS - 1).to_string())
            .collect();
        if warnings.len() > MOST_WARNINGS {
            let more = warnings.len() - (MOST_WARNINGS - 1);
            warnings.truncate(MOST_WARNINGS - 1);
            warnings
                .push(format!("mirrorgate: and {more} more; `mirrorgate check` shows what it finds in the document"));
        }
        Self { refused: None, warnings }
    }
}

/// `in_force` is what an edit is compared with where the stored document says nothing.
fn judge(review: &PolicyReview<'_>, namespace: &str, in_force: Option<&Policy>) -> Result<Judgement, BadReview> {
    let is_the_policy =
        review.is_of_a_config_map() && &*review.namespace == namespace && &*review.name == POLICY_CONFIG_MAP;
    match review.operation() {
        Operation::Create | Operation::Update if is_the_policy => {}
        Operation::Delete if is_the_policy => return Ok(Judgement::warn([DELETED.to_owned()])),
        _ => return Ok(Judgement::default()),
    }
    let document = review.data(POLICY_KEY)?;
    let stored = review.old_data(POLICY_KEY)?;
    // Of an edit of something else: labels, or a finalizer that must go.
    let untouched = review.operation() == Operation::Update && document == stored;
    let Some(document) = document else {
        return Ok(match untouched {
            true => Judgement::warn([UNMENDED.to_owned()]),
            false => Judgement::refuse(NO_KEY, Vec::new()),
        });
    };
    let examined = Examined::new(POLICY_KEY.to_owned(), document.as_bytes().to_vec());
    Ok(match examined.policy() {
        Some(_) if untouched => Judgement::default(),
        Some(after) => {
            let stored = stored.and_then(|stored| Policy::read(&stored).ok()).map(|compiled| compiled.policy);
            let dangers = dangers(stored.as_ref().or(in_force), after);
            Judgement::warn(dangers.into_iter().chain(examined.faults().iter().map(ToString::to_string)))
        }
        None if untouched => Judgement::warn([UNMENDED.to_owned()]),
        None => Judgement::refuse(&examined.text_within(MOST_DRAWN), examined.into_faults()),
    })
}

/// The one line for a review. What a client wrote is escaped: the text form of the log is for terminals.
fn log(review: &PolicyReview<'_>, judgement: &Judgement, decision: &str, seconds: f64) {
    let name = |text| Escaped::cut(text, MOST_NAME_CHARS);
    info!(
        uid = %name(&review.uid),
        namespace = %name(&review.namespace),
        config_map = %name(&review.name),
        user = %name(&review.user),
        mode = MODE,
        operation = review.operation().as_str(),
        dry_run = review.dry_run,
        decision,
        faults = judgement.refused.as_ref().map(|refused| refused.faults.len()),
        warnings = judgement.warnings.len(),
        ms = milliseconds(seconds),
        "review"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_a_warning_is_escaped_and_cut_and_there_are_at_most_sixteen() {
        let Judgement { refused, warnings } = Judgement::warn(vec!["a".repeat(1000); 40]);
        assert!(refused.is_none() && warnings.len() == 16, "{warnings:#?}");
        assert!(warnings.iter().all(|warning| warning.chars().count() <= 250), "{warnings:#?}");
        assert!(warnings[15].starts_with("mirrorgate: and 25 more; "), "{warnings:#?}");
        assert_eq!(Judgement::warn(["\u{1b}[31m".to_owned()]).warnings, ["mirrorgate: \\u{1b}[31m"]);
    }
}
