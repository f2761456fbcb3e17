//! `mirrorgate serve`: its arguments, as settings.

use std::env;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::{Color, Common, policy_file};
use crate::cluster::Caretaker;
use crate::policy::parse_duration;
use crate::serve::{self, ServingCertificate, Settings};
use crate::serving::CertificateSource;
use crate::telemetry::{self, Format, Level};

/// Who looks after the Secret mirrorgate-serving.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Way {
    /// mirrorgate makes and renews its certificate and CA, and writes caBundle
    SelfManaged,
    /// You do, with the CA in ca.crt, which mirrorgate writes into caBundle
    Own,
    /// cert-manager does, and its CA injector writes caBundle
    CertManager,
}

/// Arguments of `mirrorgate serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Serve the policy of this file; no cluster is needed then
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The namespace of the policy ConfigMap [default: the one that mirrorgate runs in]
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    namespace: Option<String>,
    /// Where the API server calls (HTTPS); port 0 takes a free one, [::] takes IPv4 too
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443", value_parser = address)]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are (plain HTTP); port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    http_listen: SocketAddr,
    /// Serve the certificate of the Secret mirrorgate-serving, and who looks after it [default in a cluster: self-managed]
    #[arg(long, value_enum, value_name = "WAY", conflicts_with_all = ["policy", "tls_cert", "tls_key", "cert_dir", "tls_name"])]
    serving_certificate: Option<Way>,
    /// Keep a self-made CA and serving certificate in this directory: ca.crt, tls.crt, tls.key [default with --policy:
    /// mirrorgate in the user's state directory]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["tls_cert", "tls_key"])]
    cert_dir: Option<PathBuf>,
    /// A further name in the self-made certificate, beside localhost, 127.0.0.1 and ::1
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tls_cert", "tls_key"])]
    tls_name: Vec<String>,
    /// The serving certificate, in PEM, with its chain; taken up anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How long everything is still served after SIGTERM, while the cluster takes us out of its endpoints
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    shutdown_delay: Duration,
    /// How long after that idle connections are left for their clients to end, who may still use them; the API server ends
    /// its own after 90 s
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse_duration)]
    shutdown_linger: Duration,
    /// The form of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    log_format: Format,
    /// What is logged at least [default: info; -q: warn; -v: debug; -vv: trace]
    #[arg(long, value_enum, value_name = "LEVEL", hide_possible_values = false)]
    log_level: Option<Level>,
}

impl Args {
    pub(super) fn run(self, common: Common) -> anyhow::Result<ExitCode> {
        let Self {
            policy,
            namespace,
            listen,
            http_listen,
            serving_certificate,
            cert_dir,
            tls_name,
            tls_cert,
            tls_key,
            shutdown_delay,
            shutdown_linger,
            log_format,
            log_level,
        } = self;
        let Common { quiet, verbose, color } = common;
        let colour = match color {
            Color::Auto => std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none(),
            Color::Always => true,
            Color::Never => false,
        };
        let level = log_level.unwrap_or(match (quiet, verbose) {
            (true, _) => Level::Warn,
            (false, 0) => Level::Info,
            (false, 1) => Level::Debug,
            (false, _) => Level::Trace,
        });
        let _log = telemetry::init_logging(log_format, level, colour).context("starting the log")?;
        telemetry::log_panics();

        // A person sees every fault with its line; a program reads them in the log.
        if log_format == Format::Text
            && let Some(path) = &policy
            && policy_file::load(path)?.is_none()
        {
            return Ok(ExitCode::FAILURE);
        }
        let files = match (tls_cert, tls_key, cert_dir) {
            (Some(certificate), Some(key), _) => Some(CertificateSource::Files { certificate, key }),
            (_, _, Some(directory)) => Some(CertificateSource::Directory { directory, names: tls_name }),
            _ if policy.is_some() => {
                Some(CertificateSource::Directory { directory: state_directory(), names: tls_name })
            }
            _ => None,
        };
        let certificate = match (files, serving_certificate) {
            (Some(files), _) => ServingCertificate::Files(files),
            (None, None | Some(Way::SelfManaged)) => ServingCertificate::Secret(Caretaker::Ourselves),
            (None, Some(Way::Own)) => ServingCertificate::Secret(Caretaker::Somebody),
            (None, Some(Way::CertManager)) => ServingCertificate::Secret(Caretaker::CertManager),
        };
        let print_try_line = log_format == Format::Text && !quiet;
        let settings = Settings {
            policy,
            namespace,
            listen,
            http_listen,
            certificate,
            shutdown_delay,
            shutdown_linger,
            print_try_line,
        };
        let runtime = serve::runtime().context("starting the runtime")?;
        let outcome = runtime.block_on(serve::run(settings));
        runtime.shutdown_background();
        outcome
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "it must be an address and a port, as in 127.0.0.1:8443 or [::]:8443")
}

/// Where a certificate is kept that nobody named a place for.
fn state_directory() -> PathBuf {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(env::temp_dir).join("mirrorgate")
}
