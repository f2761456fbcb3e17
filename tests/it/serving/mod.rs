//! The serving certificate: what is taken up and what is not, what is made, and how several replicas change a CA without a
//! moment in which a call would fail.

mod files;
mod pairs;
mod steps;
mod world;

use jiff::{SignedDuration, Timestamp};
use mirrorgate::serving::{AUTHORITY_LIFE, Authority, Content, Held, LEAF_LIFE, Made};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// By which the API server calls us.
const NAME: &str = "mirrorgate.mirrorgate-system.svc";

/// 2026-11-21, noon.
fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// What mirrorgate makes in an empty Secret at that time.
fn made_at(now: Timestamp) -> Content {
    let (authority, ca) = Authority::make(now, AUTHORITY_LIFE).unwrap();
    signed_at(&authority, &ca, now)
}

fn signed_at(authority: &Authority, ca: &Made, now: Timestamp) -> Content {
    let leaf = authority.sign(&[NAME.to_owned()], now, LEAF_LIFE).unwrap();
    Content {
        certificate: leaf.certificate.into_bytes(),
        key: leaf.key,
        authorities: ca.certificate.clone().into_bytes(),
        authority_key: ca.key.clone(),
    }
}

fn held(content: &Content) -> Held {
    Held::read(content.clone())
}

/// A CA of somebody else.
struct Somebody {
    params: CertificateParams,
    key: KeyPair,
}

impl Somebody {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "somebody's CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn pem(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }

    /// A certificate for that name from and to these days from noon on, and for that key.
    fn signs(&self, name: &str, (from, to): (i64, i64), key: &KeyPair) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "somebody's server");
        let at = |day: i64| {
            let since_1970 = (noon() + days(day)).as_second();
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(since_1970.try_into().unwrap())
        };
        (params.not_before, params.not_after) = (at(from), at(to));
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem()
    }
}
