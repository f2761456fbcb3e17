//! The proxy between this machine and the API server: doctor goes through none, and needs none where kubectl would not take it.
//!
//! kubectl obeys `NO_PROXY` for the proxy of the environment, and not for `proxy-url` of the kubeconfig. The client does not tell them
//! apart, and asks `NO_PROXY` for nothing.

use std::net::IpAddr;

use anyhow::bail;
use ipnet::IpNet;
use kube::Config;

/// What the environment says of proxies.
#[derive(Default)]
pub(super) struct Environment {
    proxy: Option<String>,
    exceptions: String,
}

impl Environment {
    pub(super) fn read() -> Self {
        let first = |names: [&str; 2]| {
            names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
        };
        Self {
            proxy: first(["HTTPS_PROXY", "https_proxy"]),
            exceptions: first(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        }
    }
}

/// Takes the proxy out of the configuration where the environment excepts the API server from it; any other is told of, as the client
/// can go through none, and says so in words of its build.
pub(super) fn go_straight(config: &mut Config, environment: &Environment) -> anyhow::Result<()> {
    let Some(proxy) = &config.proxy_url else { return Ok(()) };
    let of_environment = environment.proxy.as_ref().and_then(|proxy| proxy.parse().ok()).as_ref() == Some(proxy);
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    if of_environment && is_excepted(&environment.exceptions, &host, port) {
        config.proxy_url = None;
        return Ok(());
    }
    // What else is in the address may be a password.
    bail!(
        "no cluster: the way to the API server {} is set to the proxy {} (proxy-url of the kubeconfig, or HTTPS_PROXY), and \
         doctor goes through no proxy. If the API server can be reached without one: NO_PROXY={host} mirrorgate doctor, or without \
         proxy-url; else run it where it can",
        config.cluster_url,
        proxy.host().unwrap_or_default()
    )
}

/// As Go reads `NO_PROXY`: this machine always; addresses and blocks of them; a name with all below it, or, behind a dot, what is below
/// it alone; each with a port or without; `*`.
fn is_excepted(exceptions: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if let (Ok(block), Some(address)) = (entry.parse::<IpNet>(), address) {
            return block.contains(&address);
        }
        let (name, of_port) = with_port(&entry);
        if of_port.is_some_and(|of_port| of_port != port) || name.is_empty() {
            return false;
        }
        if name == "*" {
            return true;
        }
        if let Some(address) = address {
            return name.parse() == Ok(address);
        }
        let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
        match name.strip_prefix('.') {
            Some(_) => host.ends_with(name),
            None => host == name || host.strip_suffix(name).is_some_and(|above| above.ends_with('.')),
        }
    })
}

/// `host:port`, `[::1]:port`, or neither with a port.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://joe:secret@proxy.corp:3128";

    fn config(server: &str) -> Config {
        let mut config = Config::new(server.parse().unwrap());
        config.proxy_url = Some(PROXY.parse().unwrap());
        config
    }

    fn environment(proxy: &str, exceptions: &str) -> Environment {
        Environment { proxy: Some(proxy.to_owned()), exceptions: exceptions.to_owned() }
    }

    #[test]
    fn a_proxy_is_told_with_the_way_out_and_without_its_password() {
        let mut config = config("https://10.0.0.1:6443");
        let told = go_straight(&mut config, &Environment::default()).unwrap_err().to_string();
        assert!(
            told.contains("the proxy proxy.corp (") && told.contains("NO_PROXY=10.0.0.1 mirrorgate doctor"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
        config.proxy_url = None;
        assert!(go_straight(&mut config, &Environment::default()).is_ok());
    }

    #[test]
    fn no_proxy_is_for_the_proxy_of_the_environment_alone() {
        let mut excepted = config("https://10.0.0.1:6443");
        go_straight(&mut excepted, &environment(PROXY, "localhost,10.0.0.0/8")).unwrap();
        assert_eq!(excepted.proxy_url, None);
        for environment in [
            environment(PROXY, "192.168.0.0/16"),
            environment("http://another.corp:3128", "10.0.0.0/8"),
            Environment { proxy: None, exceptions: "10.0.0.0/8".to_owned() },
        ] {
            assert!(go_straight(&mut config("https://10.0.0.1:6443"), &environment).is_err());
        }
    }

    #[test]
    fn no_proxy_is_read_as_kubectl_reads_it() {
        for (exceptions, host, is) in [
            ("", "localhost", true),
            ("", "127.0.0.1", true),
            ("", "::1", true),
            ("", "10.0.0.1", false),
            ("*", "10.0.0.1", true),
            ("*", "api.corp", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.10", false),
            ("a, 10.0.0.0/24 ,b", "10.0.0.10", true),
            ("10.0.0.0/24", "10.0.1.10", false),
            ("fd00::/8", "fd00::1", true),
            ("[fd00::1]:6443", "fd00::1", true),
            ("fd00::1", "fd00::1", true),
            ("10.0.0.1:6443", "10.0.0.1", true),
            ("10.0.0.1:443", "10.0.0.1", false),
            ("Corp", "api.corp", true),
            ("corp", "corp", true),
            ("corp", "acorp", false),
            (".corp", "api.corp", true),
            (".corp", "corp", false),
            ("*.corp", "api.corp", true),
            ("*.corp", "corp", false),
            ("api.corp:6443", "api.corp", true),
            ("api.corp:443", "api.corp", false),
            (",", "api.corp", false),
        ] {
            assert_eq!(is_excepted(exceptions, host, 6443), is, "{exceptions} {host}");
        }
    }
}
