//! Keys and certificates, first without their signatures.

use serde_json::{Value, json};

use super::der::{bit_string, sequence};
use super::{base64, read_base64};

/// What certificates are signed with.
pub(crate) struct Key {
    pub(crate) name: String,
    pub(super) kind: String,
    pub(super) public: Vec<u8>,
    pub(super) private: String,
}

impl Key {
    pub(crate) fn read(answer: &Value) -> Self {
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        Self {
            name: text("name"),
            kind: text("kind"),
            public: read_base64(&answer["public"]),
            private: text("private"),
        }
    }

    /// As most CAs make it; nothing reads it as a hash.
    pub(super) fn id(&self) -> Vec<u8> {
        self.public.iter().rev().take(20).copied().collect()
    }
}

/// A certificate, first without its signature.
#[derive(Clone)]
pub(crate) struct Made {
    pub(super) tbs: Vec<u8>,
    /// Outside of what is signed.
    pub(super) algorithm: Vec<u8>,
    /// `None`: there is none to make.
    pub(super) private: Option<String>,
    pub(super) scheme: &'static str,
    pub(super) damage: Damage,
    pub(crate) der: Vec<u8>,
}

/// What happens to a certificate once it is signed.
#[derive(Clone, Copy)]
pub(super) enum Damage {
    None,
    Signature(usize),
    /// A zero byte after the signature.
    Longer,
    Shorter,
    Anywhere(usize, u8),
    Trailing,
}

impl Made {
    pub(crate) fn to_sign(&self) -> Value {
        match &self.private {
            Some(private) => {
                json!({"sign": {"private": private, "scheme": self.scheme, "message": base64(&self.tbs)}})
            }
            None => json!({"chain": {"presented": [base64(&[])], "roots": [], "name": "x", "at": 0}}),
        }
    }

    pub(crate) fn finish(&mut self, signature: &[u8]) {
        let mut signature = signature.to_vec();
        if signature.is_empty() {
            signature = vec![1; 64];
        }
        match self.damage {
            Damage::Signature(at) => {
                let length = signature.len();
                signature[at % length] ^= 1 << (at % 8);
            }
            Damage::Longer => signature.push(0),
            Damage::Shorter => drop(signature.pop()),
            _ => {}
        }
        self.der = sequence(&[&self.tbs, &self.algorithm, &bit_string(&signature)]);
        match self.damage {
            Damage::Anywhere(at, with) => {
                let length = self.der.len();
                self.der[at % length] ^= with.max(1);
            }
            Damage::Trailing => self.der.push(0),
            _ => {}
        }
    }
}
