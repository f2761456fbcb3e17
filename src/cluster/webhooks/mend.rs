//! The patch that gives webhooks their `caBundle`.

use serde_json::{Value, json};

use super::watched::{Webhook, Webhooks};

/// JSON Patch operations after which every webhook trusts `bundle` (base64), and which apply only to what was seen: who
/// was slower writes nothing. Empty where all is well.
pub(super) fn patch(Webhooks(webhooks): &Webhooks, bundle: &str) -> Vec<Value> {
    let wrong = |(_, webhook): &(usize, &Webhook)| webhook.ca_bundle() != bundle;
    webhooks
        .iter()
        .enumerate()
        .filter(wrong)
        .flat_map(|(at, webhook)| {
            let path = format!("/webhooks/{at}");
            [
                json!({"op": "test", "path": format!("{path}/name"), "value": webhook.name}),
                json!({"op": "test", "path": format!("{path}/clientConfig"), "value": webhook.client_config}),
                json!({"op": "add", "path": format!("{path}/clientConfig/caBundle"), "value": bundle}),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks(bundles: &[Option<&str>]) -> Webhooks {
        let webhook = |(n, bundle): (usize, &Option<&str>)| {
            let mut client_config = json!({"service": {"name": "mirrorgate", "path": format!("/{n}")}});
            if let Some(bundle) = bundle {
                client_config["caBundle"] = json!(bundle);
            }
            Webhook { name: format!("{n}.test"), client_config }
        };
        Webhooks(bundles.iter().enumerate().map(webhook).collect())
    }

    fn as_json(Webhooks(webhooks): &Webhooks) -> Value {
        let all: Vec<Value> = webhooks
            .iter()
            .map(|Webhook { name, client_config }| json!({"name": name, "clientConfig": client_config}))
            .collect();
        json!({ "webhooks": all })
    }

    /// Trap 24, trap 7: it mends what was seen, and nothing that has changed meanwhile.
    #[test]
    fn trap_24_a_patch_applies_to_what_was_seen_and_to_nothing_else() {
        let seen = webhooks(&[None, Some("NEW"), Some("OLD"), Some("")]);
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch(&seen, "NEW"))).unwrap();
        let mut mended = as_json(&seen);
        json_patch::patch(&mut mended, &patch).unwrap();
        assert_eq!(mended, as_json(&webhooks(&[Some("NEW"); 4])));
        for other in [
            webhooks(&[Some("ELSE"), Some("NEW"), Some("OLD"), Some("")]),
            webhooks(&[None, Some("NEW"), Some("ELSE"), Some("")]),
            webhooks(&[None, Some("NEW"), Some("OLD")]),
            Webhooks(webhooks(&[None, Some("NEW"), Some("OLD"), Some("")]).0.into_iter().rev().collect()),
        ] {
            assert!(json_patch::patch(&mut as_json(&other), &patch).is_err(), "{other:?}");
        }
    }

    #[test]
    fn where_all_is_well_nothing_is_written() {
        assert!(patch(&webhooks(&[Some("NEW"), Some("NEW")]), "NEW").is_empty());
        assert!(patch(&webhooks(&[]), "NEW").is_empty());
    }
}
