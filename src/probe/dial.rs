//! One probe of one registry, from its name to the status of its answer, within one time (P1, P2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::image::Registry;
use crate::review::{Untrusted, Verdict};
use crate::trust::{self, Fault, HandshakeFault, Judgement, Outcome, Rejection, Roots};

use super::connect::{Bounded, Traffic, connect};
use super::guard::refusal;
use super::handshake::{NoHandshake, Speech, Witness, handshake};
use super::http::{NoStatus, is_of_a_registry, status};
use super::resolve::{NameSources, Names};
use super::sentences as say;

/// The types of TLS records: what begins with another byte is no TLS.
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 20..=23;

/// What is asked of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The handshake and `GET /v2/`.
    Full,
    /// The handshake alone: for registries that only `"*"` brought in (P1).
    HandshakeOnly,
    /// `GET /v2/` in plain HTTP: for a mirror with `plainHTTP`, which has no certificate (T6).
    Plain,
}

impl Kind {
    /// Where registries listen that name no port.
    #[must_use]
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Full | Self::HandshakeOnly => 443,
            Self::Plain => 80,
        }
    }
}

/// One registry that is to be asked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The registry.
    pub registry: &'a Registry,
    /// What is asked of it.
    pub checked: Kind,
    /// `trust.denyNetworks`.
    pub denied: &'a [IpNet],
    /// Whether an address that is never dialled is, where the registry is that very literal: a mirror's endpoint may be (P2).
    pub literal_allowed: bool,
    /// For all of it: the name, the connection, the handshake and the answer.
    pub timeout: Duration,
    /// Dialled instead of what the name says, whatever address it is.
    pub resolve: Option<SocketAddr>,
}

/// All that one probe saw.
#[derive(Debug)]
pub struct Report {
    /// Who was asked.
    pub registry: Registry,
    /// Where: the address that answered, or else the only one that there was.
    pub address: Option<SocketAddr>,
    /// What the certificates are worth that it presented, if it did.
    pub judgement: Option<Judgement>,
    /// What it answered to `GET /v2/`, if it came to that.
    pub http_status: Option<u16>,
    /// What is kept of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Asks registries. One serves a whole process; probes share nothing but where names are looked up.
#[derive(Debug)]
pub struct Dialler {
    names: Names,
    provider: Arc<CryptoProvider>,
}

impl Default for Dialler {
    fn default() -> Self {
        Self::new()
    }
}

/// What a probe has seen before it ends, however it ends.
#[derive(Default)]
struct Seen {
    address: Option<SocketAddr>,
    judgement: Option<Judgement>,
    http_status: Option<u16>,
}

impl Dialler {
    /// One that looks names up where every program of the machine does.
    #[must_use]
    pub fn new() -> Self {
        Self::with_names(NameSources::default())
    }

    /// One that looks names up there.
    #[must_use]
    pub fn with_names(names: NameSources) -> Self {
        Self { names: Names::new(names), provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// Asks one registry, once. What it presents is judged under these roots, by the time of now.
    pub async fn probe(&self, target: &Target<'_>, roots: &Roots) -> Report {
        let start = Instant::now();
        let mut seen = Seen::default();
        let probe = Probe { dialler: self, target, roots, deadline: start + target.timeout };
        let verdict = match probe.run(&mut seen).await {
            Ok(verdict) | Err(verdict) => verdict,
        };
        let Seen { address, judgement, http_status } = seen;
        Report { registry: target.registry.clone(), address, judgement, http_status, verdict, took: start.elapsed() }
    }
}

struct Probe<'a> {
    dialler: &'a Dialler,
    target: &'a Target<'a>,
    roots: &'a Roots,
    deadline: Instant,
}

impl Probe<'_> {
    /// Either side is a verdict: an error is one that ends the probe early.
    async fn run(&self, seen: &mut Seen) -> Result<Verdict, Verdict> {
        let addresses = self.addresses().await?;
        if let [only] = *addresses {
            seen.address = Some(only);
        }
        let connected = self.within(connect(&addresses)).await.ok_or_else(say::no_connection_in_time)?;
        let (stream, address) = connected.map_err(|error| say::not_connected(error.kind()))?;
        seen.address = Some(address);
        let traffic = Arc::new(Traffic::default());
        let stream = Bounded::new(stream, traffic.clone());
        match self.target.checked {
            Kind::Plain => self.plain(stream, &traffic, seen).await,
            Kind::Full | Kind::HandshakeOnly => self.secure(stream, &traffic, Speech::Http1, seen).await,
        }
    }

    /// What `future` comes to, if it does in time.
    async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        timeout_at(self.deadline, future).await.ok()
    }

    /// The host as the certificate must name it: an IPv6 address without its brackets.
    fn host(&self) -> &str {
        let host = self.target.registry.dialled_host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    fn port(&self) -> u16 {
        self.target.registry.port().unwrap_or(self.target.checked.usual_port())
    }

    /// The addresses to dial: looked up once, every one of them checked.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Verdict> {
        if let Some(address) = self.target.resolve {
            return Ok(vec![address]);
        }
        let literal: Option<IpAddr> = self.host().parse().ok();
        let addresses = match literal {
            Some(address) => vec![address],
            None => {
                let found = self.within(self.dialler.names.addresses(self.host(), self.target.timeout)).await;
                found.ok_or_else(say::no_address_in_time)?.map_err(say::no_address)?
            }
        };
        if literal.is_none() || !self.target.literal_allowed {
            let refused = addresses.iter().find_map(|&address| Some((address, refusal(address, self.target.denied)?)));
            if let Some((address, refusal)) = refused {
                return Err(say::refused_address(address, &refusal, addresses.len()));
            }
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, self.port())).collect())
    }

    async fn secure(
        &self,
        stream: Bounded,
        traffic: &Traffic,
        speech: Speech,
        seen: &mut Seen,
    ) -> Result<Verdict, Verdict> {
        let witness = Arc::new(Witness::default());
        let name = ServerName::try_from(self.host().to_owned()).map_err(|_| say::no_server_name())?;
        let shaken = self.within(handshake(&self.dialler.provider, stream, name, speech, &witness)).await;
        // A node ends the handshake where it meets a certificate that it does not trust, however it would go on.
        self.judge(&witness, seen).await?;
        let stream = match shaken {
            Some(Ok(stream)) => stream,
            Some(Err(NoHandshake::Http2Only)) if speech == Speech::Http1 => return self.http2(seen).await,
            Some(Err(_)) if traffic.first().is_some_and(|first| !TLS_RECORDS.contains(&first)) => {
                return Err(say::not_tls(traffic.first() == Some(b'H')));
            }
            Some(Err(_)) if witness.asked_for_client_certificate() => return Err(say::wants_client_certificate()),
            Some(Err(fault)) => return Err(say::no_handshake(fault, witness.chain().is_some())),
            None => return Err(say::no_handshake_in_time(traffic.first().is_none())),
        };
        if self.target.checked == Kind::HandshakeOnly || speech == Speech::Http2 {
            return Ok(Verdict::Trusted);
        }
        let answer = self.within(status(stream, &self.host_header())).await.ok_or_else(say::no_answer_in_time)?;
        seen.http_status = answer.ok();
        match answer {
            Ok(status) if is_of_a_registry(status) => Ok(Verdict::Trusted),
            // Over TLS 1.3 the refusal comes only now; some say it by a status. Who asks for one and can do without it
            // has other reasons for other statuses.
            Ok(400 | 495 | 496) | Err(NoStatus::Ended) if witness.asked_for_client_certificate() => {
                Err(say::wants_client_certificate())
            }
            Ok(status) => Err(say::bad_status(status)),
            Err(NoStatus::NotHttp) => Err(say::not_http()),
            Err(NoStatus::Ended) => Err(say::ended_before_an_answer()),
        }
    }

    /// A server that speaks nothing but HTTP/2 is asked for its certificate: at the address that was checked.
    async fn http2(&self, seen: &mut Seen) -> Result<Verdict, Verdict> {
        let (stream, traffic) = self.again(seen).await?;
        Box::pin(self.secure(stream, &traffic, Speech::Http2, seen)).await
    }

    async fn plain(&self, stream: Bounded, traffic: &Traffic, seen: &mut Seen) -> Result<Verdict, Verdict> {
        let answer = self.within(status(stream, &self.host_header())).await;
        seen.http_status = answer.and_then(Result::ok);
        match answer {
            Some(Ok(status)) if is_of_a_registry(status) => Ok(say::plain_http()),
            // 400 is what Go, nginx and Apache answer to plain HTTP where they speak TLS; others hang up.
            Some(Ok(400) | Err(_)) if self.speaks_tls(traffic, seen).await => Err(say::tls_where_plain()),
            Some(Ok(status)) => Err(say::bad_status(status)),
            Some(Err(NoStatus::NotHttp)) => Err(say::not_http()),
            Some(Err(NoStatus::Ended)) if traffic.first().is_some() => Err(say::not_http()),
            Some(Err(NoStatus::Ended)) => Err(say::ended_before_an_answer()),
            None => Err(say::no_answer_in_time()),
        }
    }

    /// Whether what answers a plain request badly would answer TLS with TLS.
    async fn speaks_tls(&self, traffic: &Traffic, seen: &Seen) -> bool {
        if traffic.first().is_some_and(|first| TLS_RECORDS.contains(&first)) {
            return true;
        }
        let Ok((stream, traffic)) = self.again(seen).await else { return false };
        let Ok(name) = ServerName::try_from(self.host().to_owned()) else { return false };
        let witness = Arc::new(Witness::default());
        let shaken = handshake(&self.dialler.provider, stream, name, Speech::Http1, &witness);
        // One that speaks no TLS may wait for more of what it takes for a request.
        let _shaken = self.within(timeout(self.target.timeout / 4, shaken)).await;
        traffic.first().is_some_and(|first| TLS_RECORDS.contains(&first))
    }

    /// Another connection to the address that was checked and answered.
    async fn again(&self, seen: &Seen) -> Result<(Bounded, Arc<Traffic>), Verdict> {
        let address = seen.address.ok_or_else(say::no_connection_in_time)?;
        let connected = self.within(connect(&[address])).await.ok_or_else(say::no_connection_in_time)?;
        let (stream, _) = connected.map_err(|error| say::not_connected(error.kind()))?;
        let traffic = Arc::new(Traffic::default());
        Ok((Bounded::new(stream, traffic.clone()), traffic))
    }

    /// What the chain that was presented is worth. Anything but trusted ends the probe.
    async fn judge(&self, witness: &Witness, seen: &mut Seen) -> Result<(), Verdict> {
        let Some(chain) = witness.chain() else { return Ok(()) };
        let (chain, roots, host) = (chain.to_vec(), self.roots.clone(), self.host().to_owned());
        let now = Timestamp::now();
        // A hostile chain costs milliseconds: none of the threads that answer the API server is held up by it.
        let judged = spawn_blocking(move || trust::judge(&chain, &roots, &host, now)).await;
        let mut judgement = judged.map_err(|_| say::not_judged())?;
        let mut depends_on_roots = true;
        if let Outcome::Trusted(_) = judgement.outcome {
            match witness.signature_fault() {
                None => {}
                Some(&fault) => {
                    depends_on_roots = false;
                    judgement.outcome = without_proof(&judgement, fault);
                }
            }
        }
        let verdict = match &judgement.outcome {
            Outcome::Trusted(_) => None,
            Outcome::Untrusted(rejection) => {
                let mut untrusted = Untrusted::new(&judgement, rejection);
                untrusted.depends_on_roots &= depends_on_roots;
                Some(Verdict::Untrusted(Arc::new(untrusted)))
            }
            Outcome::CannotJudge(why) => Some(say::cannot_judge(why)),
        };
        seen.judgement = Some(judgement);
        verdict.map_or(Ok(()), Err)
    }

    /// As a URL would have it.
    fn host_header(&self) -> String {
        let host = self.target.registry.dialled_host();
        self.target.registry.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

/// The chain is fine, but not what the server signed the handshake with.
fn without_proof(judgement: &Judgement, fault: HandshakeFault) -> Outcome {
    let why = match fault {
        // Another's certificate, which anyone can show.
        HandshakeFault::Bad => {
            "the server does not prove that it holds the key of the certificate that it presents".to_owned()
        }
        HandshakeFault::NotForKey => {
            "the server signs the handshake by a scheme that Go does not take for the key of its certificate".to_owned()
        }
        HandshakeFault::SmallKey(bits) => {
            format!("the key of the server's certificate has {bits} bits; Go takes 1024 at least")
        }
        HandshakeFault::Unsupported => return Outcome::CannotJudge(say::UNSUPPORTED_SIGNATURE.to_owned()),
    };
    Outcome::Untrusted(Rejection {
        fault: Fault::BadSignature,
        at_fault: judgement.presented.first().and_then(|leaf| leaf.as_ref().ok().cloned()),
        presented_index: Some(0),
        in_pool: None,
        why,
    })
}
