//! One TLS handshake that records what the server presents and lets it finish, whatever that is worth: `trust` judges it.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::trust::{self, Certificate, HandshakeFault, TlsVersion};

use super::connect::Bounded;

/// What Go offers (since 1.25 without SHA-1), in its order: a server must not choose another certificate for us than for a
/// node.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
];

/// What a handshake offers to speak afterwards (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP/1.1, which every registry speaks that a node can be told of.
    Http1,
    /// HTTP/2, for a server that speaks nothing else: only its certificate is asked for.
    Http2,
}

/// What was seen of a server while it was spoken to; there also when the handshake failed or did not end in time.
#[derive(Debug, Default)]
pub(super) struct Witness {
    chain: OnceLock<Vec<Vec<u8>>>,
    signature_fault: OnceLock<HandshakeFault>,
    client_certificate: OnceLock<()>,
}

impl Witness {
    /// The certificates as the server sent them, its own first.
    pub(super) fn chain(&self) -> Option<&[Vec<u8>]> {
        self.chain.get().map(Vec::as_slice)
    }

    /// What is wrong with the server's proof that it holds the key of its certificate.
    pub(super) fn signature_fault(&self) -> Option<&HandshakeFault> {
        self.signature_fault.get()
    }

    /// Whether the server asked for a certificate of ours.
    pub(super) fn asked_for_client_certificate(&self) -> bool {
        self.client_certificate.get().is_some()
    }

    fn check_signature(
        &self,
        version: TlsVersion,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // One that cannot be parsed is judged as such, and no worse.
        let leaf = Certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        match trust::verify_handshake(&leaf, version, signed.scheme.into(), message, signed.signature()) {
            Ok(()) => Ok(HandshakeSignatureValid::assertion()),
            Err(fault) => {
                self.signature_fault.get_or_init(|| fault);
                Err(CertificateError::BadSignature.into())
            }
        }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.chain.get_or_init(|| std::iter::once(leaf).chain(others).map(|der| der.to_vec()).collect());
        // Not a word on its worth: the chain is judged apart, and nothing is sent that a stranger may not read.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(TlsVersion::V1_2, message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // That the scheme is for the key's curve, rustls leaves to whoever verifies.
        self.check_signature(TlsVersion::V1_3, message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.client_certificate.get_or_init(|| ());
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Why no handshake was done, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHandshake {
    /// The connection ended.
    Reset,
    /// The server speaks HTTP/2 only.
    Http2Only,
    /// The server ended it by an alert.
    Alert(AlertDescription),
    /// No version, cipher or key exchange in common.
    NothingInCommon,
    /// The certificate message is larger than our TLS stack reads.
    TooLarge,
    /// The server does not keep to the rules of TLS, or to ours.
    Other,
}

/// Speaks TLS over `stream`. What of the server is seen is in `witness`, also when this fails or is given up.
///
/// # Errors
/// When no connection came of it.
pub(super) async fn handshake(
    provider: &Arc<CryptoProvider>,
    stream: Bounded,
    name: ServerName<'static>,
    speech: Speech,
    witness: &Arc<Witness>,
) -> Result<TlsStream<Bounded>, NoHandshake> {
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| NoHandshake::Other)?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone());
    let mut config = config.with_client_cert_resolver(witness.clone());
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match speech {
        Speech::Http1 => vec![b"http/1.1".to_vec()],
        Speech::Http2 => vec![b"h2".to_vec()],
    };
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| why(&error))
}

fn why(error: &io::Error) -> NoHandshake {
    let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return if error.kind() == io::ErrorKind::FileTooLarge { NoHandshake::TooLarge } else { NoHandshake::Reset };
    };
    match tls {
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => NoHandshake::Http2Only,
        rustls::Error::AlertReceived(alert) => NoHandshake::Alert(*alert),
        rustls::Error::PeerIncompatible(_) => NoHandshake::NothingInCommon,
        rustls::Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::CertificatePayloadTooLarge
            | InvalidMessage::MessageTooLarge,
        ) => NoHandshake::TooLarge,
        _ => NoHandshake::Other,
    }
}
