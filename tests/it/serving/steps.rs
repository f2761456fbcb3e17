//! What is to be done with a Secret, case by case.

use jiff::Timestamp;
use mirrorgate::serving::{
    AUTHORITY_LIFE, Authority, Awaited, Content, Found, Held, KeyPem, Others, Reason, Renewal, Step, step,
};
use rcgen::KeyPair;

use super::{NAME, Somebody, days, held, made_at, noon, signed_at};

const NOBODY: Others = Others { webhooks_have_it: false, replicas_serve_it: false, may_put_it_back: false };
const WEBHOOKS: Others = Others { webhooks_have_it: true, ..NOBODY };
const REPLICAS: Others = Others { replicas_serve_it: true, ..NOBODY };
const REMEMBER: Others = Others { may_put_it_back: true, ..NOBODY };

fn next(secret: &Held, in_force: Option<&Held>, others: Others, now: Timestamp) -> Step {
    step(Found::Present(secret, None), in_force, others, NAME, now)
}

fn asked(secret: &Held, renewal: Renewal, now: Timestamp) -> Step {
    step(Found::Present(secret, Some(renewal)), None, WEBHOOKS, NAME, now)
}

/// The Secret after a step that writes it.
fn after(step: &Step, secret: &Held, in_force: Option<&Held>, now: Timestamp) -> Held {
    let written = step.perform(Found::Present(secret, None), in_force, NAME, now).unwrap();
    Held::read(written.unwrap_or_else(|| panic!("{step:?} writes nothing")))
}

fn somebodys(to: i64) -> Content {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    Content {
        certificate: ca.signs(NAME, (-1, to), &key).into_bytes(),
        key: KeyPem::from(key.serialize_pem().into_bytes()),
        authorities: ca.pem().into_bytes(),
        authority_key: KeyPem::default(),
    }
}

#[test]
fn an_empty_cluster_gets_a_ca_and_a_certificate() {
    let all = Step::MakeAll(Reason::Nothing);
    assert_eq!(step(Found::Absent, None, NOBODY, NAME, noon()), all);
    let empty = held(&Content::default());
    assert_eq!(next(&empty, None, NOBODY, noon()), all);
    assert!(all.is_urgent());
    let made = after(&all, &empty, None, noon());
    assert_eq!(made.check(true, NAME, noon()), Ok(()));
    assert_eq!(next(&made, None, NOBODY, noon()), Step::Rest);
}

#[test]
fn a_secret_that_is_gone_or_emptied_is_put_back_as_it_was() {
    let good = held(&made_at(noon()));
    let empty = held(&Content::default());
    for found in [Found::Absent, Found::Present(&empty, None)] {
        let step = step(found, Some(&good), NOBODY, NAME, noon() + days(80));
        assert_eq!(step, Step::PutBack);
        assert!(step.is_urgent());
        assert_eq!(step.perform(found, Some(&good), NAME, noon()).unwrap().as_ref(), Some(good.content()));
    }
    // What has expired is of no use there, and what we could not renew would only put the end off.
    let late = step(Found::Absent, Some(&good), NOBODY, NAME, noon() + days(91));
    assert_eq!(late, Step::MakeAll(Reason::Nothing));
    let foreign = held(&somebodys(90));
    assert_eq!(step(Found::Absent, Some(&foreign), NOBODY, NAME, noon()), Step::MakeAll(Reason::Nothing));
}

/// Who starts and finds no Secret does not make another CA while somebody may put the one back that everybody trusts.
#[test]
fn trap_24_who_has_nothing_waits_for_who_may_put_it_back() {
    let (good, foreign, empty) = (held(&made_at(noon())), held(&somebodys(90)), held(&Content::default()));
    for found in [Found::Absent, Found::Present(&empty, None)] {
        for in_force in [None, Some(&foreign)] {
            let waits = step(found, in_force, REMEMBER, NAME, noon());
            assert!(waits == Step::Await(Awaited::PutBack) && !waits.is_urgent(), "{waits:?}");
            assert_eq!(waits.perform(found, in_force, NAME, noon()).unwrap(), None);
        }
        assert_eq!(step(found, Some(&good), REMEMBER, NAME, noon()), Step::PutBack);
    }
    assert_eq!(next(&good, None, REMEMBER, noon()), Step::Rest);
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_ca() {
    let made = held(&made_at(noon()));
    assert_eq!(next(&made, Some(&made), NOBODY, noon() + days(59)), Step::Rest);
    let due = next(&made, Some(&made), NOBODY, noon() + days(60));
    assert_eq!(due, Step::Sign(Reason::Due));
    assert!(!due.is_urgent());
    let renewed = after(&due, &made, Some(&made), noon() + days(60));
    assert_eq!(renewed.content().authorities, made.content().authorities);
    assert!(renewed.content().key != made.content().key);
    assert_eq!(renewed.pair().unwrap().leaf().not_after(), noon() + days(150));
    assert_eq!(next(&renewed, Some(&made), NOBODY, noon() + days(60)), Step::Rest);
    assert_eq!(renewed.check(true, NAME, noon() + days(150)), Ok(()));
}

/// A clock that is years behind, or ahead, has no other opinion of what the others have made: nobody writes in turns.
#[test]
fn trap_24_a_wrong_clock_starts_no_dispute() {
    let made = held(&made_at(noon()));
    let (ahead, behind) = (noon() + days(400), noon() - days(400));
    assert_eq!(next(&made, None, NOBODY, behind), Step::Rest);
    let step = next(&made, None, NOBODY, ahead);
    assert!(matches!(step, Step::Sign(Reason::Unusable(_))), "{step:?}");
    let renewed = after(&step, &made, None, ahead);
    for now in [ahead, noon(), behind] {
        assert_eq!(next(&renewed, None, NOBODY, now), Step::Rest, "{now}");
    }
    assert_eq!(renewed.check(true, NAME, noon()), Ok(()));
}

#[test]
fn trap_24_a_ca_changes_in_three_steps() {
    for (reason, now) in [(Reason::Due, noon() + days(2435)), (Reason::Asked, noon())] {
        let (authority, ca) = Authority::make(noon(), AUTHORITY_LIFE).unwrap();
        let before = held(&signed_at(&authority, &ca, now));
        if reason == Reason::Due {
            assert_eq!(next(&before, None, WEBHOOKS, noon() + days(2433)), Step::Rest, "too early");
        }
        let begin = match reason {
            Reason::Asked => asked(&before, Renewal::Authority, now),
            _ => next(&before, None, WEBHOOKS, now),
        };
        assert_eq!(begin, Step::BeginChange(reason));

        let begun = after(&begin, &before, None, now);
        assert_eq!(begun.authorities().len(), 2);
        assert_eq!(begun.authorities()[1].der(), before.authorities()[0].der());
        assert_eq!(begun.content().certificate, before.content().certificate);
        assert!(begun.signs() && !begun.leaf_is_of_the_first());
        assert_eq!(begun.check(true, NAME, now), Ok(()));
        for others in [NOBODY, REPLICAS] {
            assert_eq!(next(&begun, None, others, now), Step::Await(Awaited::Webhooks));
        }
        let sign = next(&begun, None, WEBHOOKS, now);
        assert_eq!(sign, Step::Sign(Reason::NewAuthority));

        let signed = after(&sign, &begun, None, now);
        assert_eq!(signed.content().authorities, begun.content().authorities);
        assert!(signed.leaf_is_of_the_first());
        for others in [NOBODY, WEBHOOKS] {
            assert_eq!(next(&signed, None, others, now + days(50)), Step::Await(Awaited::Replicas));
        }
        let end = next(&signed, None, REPLICAS, now);
        assert_eq!(end, Step::EndChange);

        let ended = after(&end, &signed, None, now);
        assert_eq!(ended.authorities().len(), 1);
        assert_eq!(ended.authorities()[0].der(), begun.authorities()[0].der());
        assert_eq!(ended.check(true, NAME, now), Ok(()));
        assert_eq!(next(&ended, None, WEBHOOKS, now), Step::Rest);
    }
}

/// The step that cannot be taken back: where caBundle cannot be written, the CA that everybody trusts goes on signing.
#[test]
fn trap_24_a_change_begins_only_when_the_webhooks_trust_what_there_is() {
    let made = held(&made_at(noon()));
    let wished = |others, renewal, now| step(Found::Present(&made, renewal), None, others, NAME, now);
    let waits = Step::Await(Awaited::Beginning);
    for others in [NOBODY, REPLICAS] {
        assert_eq!(wished(others, Some(Renewal::Authority), noon()), waits);
        // It is no reason not to renew the certificate.
        assert_eq!(wished(others, Some(Renewal::Authority), noon() + days(60)), Step::Sign(Reason::Due));
        assert_eq!(wished(others, Some(Renewal::Certificate), noon()), Step::Sign(Reason::Asked));
    }
    assert!(!waits.grants(Renewal::Authority) && !waits.is_urgent());
    // To the very end of the CA, whose last certificate ends with it and is not signed again and again.
    let (authority, ca) = Authority::make(noon(), AUTHORITY_LIFE).unwrap();
    let (last, day) = (noon() + AUTHORITY_LIFE, days(1));
    let old = held(&signed_at(&authority, &ca, noon() + days(2450)));
    assert_eq!(next(&old, None, NOBODY, noon() + days(2455)), waits);
    assert_eq!(next(&old, None, NOBODY, noon() + days(2510)), Step::Sign(Reason::Due));
    let old = held(&signed_at(&authority, &ca, last - 40 * day));
    for left in [40, 20, 2] {
        assert_eq!(next(&old, None, NOBODY, last - left * day), waits, "{left}");
    }
    assert_eq!(next(&old, None, NOBODY, last - day / 2), Step::BeginChange(Reason::Due));
    // Nor does ours follow somebody else's before that.
    let foreign = held(&somebodys(90));
    let asked = step(Found::Present(&foreign, Some(Renewal::Authority)), None, NOBODY, NAME, noon());
    assert_eq!((asked, next(&foreign, None, NOBODY, noon() + days(60))), (waits.clone(), waits));
    assert_eq!(next(&foreign, None, NOBODY, noon() + days(90) - day / 2), Step::BeginChange(Reason::Due));
}

#[test]
fn a_change_goes_on_when_nobody_can_be_asked() {
    let before = held(&made_at(noon()));
    let begun = after(&Step::BeginChange(Reason::Asked), &before, None, noon());
    // The certificate ends, and the webhooks are said to know nothing: it is renewed all the same.
    assert_eq!(next(&begun, None, NOBODY, noon() + days(88)), Step::Await(Awaited::Webhooks));
    let signed = next(&begun, None, NOBODY, noon() + days(89) + days(1) / 2);
    assert_eq!(signed, Step::Sign(Reason::NewAuthority));
    // No replica tells: after the life of a certificate none by the old CA is left.
    let signed = after(&Step::Sign(Reason::NewAuthority), &begun, None, noon() + days(1));
    assert_eq!(next(&signed, None, NOBODY, noon() + days(61)), Step::Sign(Reason::Due));
    let renewed = after(&Step::Sign(Reason::Due), &signed, None, noon() + days(61));
    assert_eq!(next(&renewed, None, NOBODY, noon() + days(90)), Step::Await(Awaited::Replicas));
    assert_eq!(next(&renewed, None, NOBODY, noon() + days(91)), Step::EndChange);
}

#[test]
fn the_annotation_is_obeyed_once() {
    let made = held(&made_at(noon()));
    let sign = asked(&made, Renewal::Certificate, noon());
    assert_eq!(sign, Step::Sign(Reason::Asked));
    assert!(sign.grants(Renewal::Certificate) && !sign.grants(Renewal::Authority));
    let begin = asked(&made, Renewal::Authority, noon());
    assert_eq!(begin, Step::BeginChange(Reason::Asked));
    assert!(begin.grants(Renewal::Authority));
    // What is made of nothing is as new as was wished.
    for renewal in [Renewal::Certificate, Renewal::Authority] {
        assert!(Step::MakeAll(Reason::Nothing).grants(renewal) && !Step::Rest.grants(renewal));
    }
    // In the midst of a change another one waits for its turn.
    let begun = after(&begin, &made, None, noon());
    assert_eq!(
        step(Found::Present(&begun, Some(Renewal::Authority)), None, NOBODY, NAME, noon()),
        Step::Await(Awaited::Webhooks)
    );
    assert_eq!(asked(&begun, Renewal::Authority, noon()), Step::Sign(Reason::NewAuthority));
    let signed = after(&Step::Sign(Reason::NewAuthority), &begun, None, noon());
    assert_eq!(asked(&signed, Renewal::Authority, noon()), Step::Await(Awaited::Replicas));
    assert_eq!(asked(&signed, Renewal::Certificate, noon()), Step::Sign(Reason::Asked));
    assert!(!Step::EndChange.grants(Renewal::Authority));
    for (text, renewal) in
        [("certificate", Some(Renewal::Certificate)), ("ca", Some(Renewal::Authority)), ("CA", None), ("", None)]
    {
        assert_eq!(Renewal::parse(text), renewal, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_left_to_whoever_wrote_it_until_it_hurts() {
    let good = held(&made_at(noon()));
    let broken = held(&Content { certificate: b"broken".to_vec(), ..good.content().clone() });
    let lacking = held(&Content { certificate: Vec::new(), ..good.content().clone() });
    for unusable in [&broken, &lacking] {
        let step = next(unusable, Some(&good), NOBODY, noon());
        assert!(matches!(step, Step::Keep(_)) && !step.is_urgent(), "{step:?}");
    }
    for (in_force, now) in [(None, noon()), (Some(&good), noon() + days(60))] {
        let step = next(&broken, in_force, NOBODY, now);
        assert!(matches!(step, Step::Sign(Reason::Unusable(_))) && step.is_urgent(), "{step:?}");
        let mended = after(&step, &broken, in_force, now);
        assert_eq!(mended.check(true, NAME, now), Ok(()));
        assert_eq!(mended.content().authorities, good.content().authorities);
    }
    // The CA is broken, too: what is in force signs, and without that all is made anew.
    let all_broken = held(&Content { authorities: b"broken".to_vec(), ..broken.content().clone() });
    assert!(matches!(next(&all_broken, Some(&good), NOBODY, noon()), Step::Keep(_)));
    let step = next(&all_broken, Some(&good), NOBODY, noon() + days(60));
    let mended = after(&step, &all_broken, Some(&good), noon() + days(60));
    assert_eq!(mended.content().authorities, good.content().authorities);
    assert!(matches!(next(&all_broken, None, NOBODY, noon()), Step::MakeAll(Reason::Unusable(_))));
}

#[test]
fn what_would_be_refused_is_made_anew_at_once() {
    let good = held(&made_at(noon()));
    let other = made_at(noon());
    let foreign_leaf = somebodys(90);
    let wrong_key = Content { key: other.key.clone(), ..good.content().clone() };
    let wrong_ca = Content { authorities: other.authorities.clone(), ..good.content().clone() };
    let not_of_it = Content { certificate: foreign_leaf.certificate, key: foreign_leaf.key, ..good.content().clone() };
    for (what, content, now) in [
        ("the key of another", &wrong_key, noon()),
        ("a certificate of another CA", &not_of_it, noon()),
        ("expired", good.content(), noon() + days(100)),
    ] {
        for in_force in [None, Some(&good)] {
            let secret = held(content);
            let step = next(&secret, in_force, NOBODY, now);
            assert!(matches!(step, Step::Sign(Reason::Unusable(_))) && step.is_urgent(), "{what}: {step:?}");
            let mended = after(&step, &secret, in_force, now);
            assert_eq!(mended.check(true, NAME, now), Ok(()), "{what}");
            assert_eq!(mended.content().authorities, good.content().authorities, "{what}");
        }
    }
    // A CA without its key signs nothing.
    let secret = held(&wrong_ca);
    assert!(matches!(next(&secret, None, NOBODY, noon()), Step::MakeAll(Reason::Unusable(_))));
    let mended = after(&next(&secret, Some(&good), NOBODY, noon()), &secret, Some(&good), noon());
    assert_eq!(mended.content().authorities, good.content().authorities);
    // Nor does one that has ended.
    let late = noon() + days(3700);
    let step = next(&good, None, NOBODY, late);
    assert!(matches!(step, Step::MakeAll(Reason::Unusable(_))), "{step:?}");
    assert_eq!(after(&step, &good, None, late).check(true, NAME, late), Ok(()));
}

#[test]
fn somebody_elses_certificate_serves_until_it_is_due_and_ours_follows_it_as_one_ca_another() {
    let foreign = held(&somebodys(90));
    // Nor before it is valid: it is our clock that may be behind.
    for now in [noon(), noon() - days(2)] {
        assert_eq!(next(&foreign, None, NOBODY, now), Step::Rest);
    }
    for renewal in [Renewal::Certificate, Renewal::Authority] {
        let step = asked(&foreign, renewal, noon());
        assert!(step == Step::BeginChange(Reason::Asked) && step.grants(renewal), "{step:?}");
    }
    let due = next(&foreign, None, WEBHOOKS, noon() + days(60));
    assert_eq!(due, Step::BeginChange(Reason::Due));
    let begun = after(&due, &foreign, None, noon() + days(60));
    assert_eq!(begun.check(true, NAME, noon() + days(60)), Ok(()));
    let signed = after(&next(&begun, None, WEBHOOKS, noon() + days(60)), &begun, None, noon() + days(60));
    assert_eq!(next(&signed, None, REPLICAS, noon() + days(60)), Step::EndChange);
}

/// Of names that are not ours it cannot be told by which of two CAs a certificate is.
#[test]
fn somebody_elses_ca_signs_nothing_even_with_its_key() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let with_key = held(&Content {
        certificate: ca.signs(NAME, (-1, 90), &key).into_bytes(),
        key: KeyPem::from(key.serialize_pem().into_bytes()),
        authorities: ca.pem().into_bytes(),
        authority_key: KeyPem::from(ca.key.serialize_pem().into_bytes()),
    });
    assert!(!with_key.signs());
    assert_eq!(next(&with_key, None, WEBHOOKS, noon() + days(60)), Step::BeginChange(Reason::Due));
}

#[test]
fn a_certificate_for_another_namespace_is_made_anew() {
    let copied = held(&made_at(noon()));
    let name = "mirrorgate.elsewhere.svc";
    let step = step(Found::Present(&copied, None), None, NOBODY, name, noon());
    assert!(matches!(step, Step::Sign(Reason::Unusable(_))), "{step:?}");
    let written = step.perform(Found::Present(&copied, None), None, name, noon()).unwrap().unwrap();
    assert_eq!(Held::read(written).check(true, name, noon()), Ok(()));
}
