//! The addresses of a registry's name, without a system resolver: an image from scratch has none.
//!
//! A name is read as the nodes read it, not as pods do: `hosts` first, then the name servers; a name with a dot is asked
//! as it is before the search domains are tried, one without a dot after them (`ndots:1`). The search domains that the
//! kubelet gives to pods for the cluster's own names are left out: with them, and `ndots:5`, `harbor.corp` could be the
//! Service `harbor` in the namespace `corp`, which no node would pull from.
//!
//! No answer is kept: the verdict is (P3), and a name that is mended must not stay broken for the time that its name server
//! gives to negative answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::{Instant, timeout_at};

/// How often a question is repeated when no answer comes, in all the time that a probe has.
const TRIES: u32 = 4;

/// The shortest wait for an answer before the question is repeated.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Where names are looked up. Both files are read again when they change; one that is not there says nothing.
#[derive(Clone, Debug)]
pub struct NameSources {
    /// Names and addresses, `hosts(5)`.
    pub hosts: PathBuf,
    /// The name servers, `resolv.conf(5)`; without any, the machine itself is asked.
    pub resolv_conf: PathBuf,
    /// The port of the name servers, which `resolv.conf` cannot say.
    pub dns_port: u16,
}

impl Default for NameSources {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), dns_port: 53 }
    }
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// The name servers say that there is none.
    NoSuchName,
    /// No name server answers.
    NoAnswer,
    /// The name servers answer with a fault of theirs.
    Failed,
}

/// Looks names up.
#[derive(Debug)]
pub(super) struct Names {
    sources: NameSources,
    servers: Mutex<Option<Arc<Servers>>>,
}

/// What one content of `resolv.conf` makes.
struct Servers {
    resolv_conf: Vec<u8>,
    timeout: Duration,
    search: Vec<String>,
    resolver: TokioResolver,
}

impl Names {
    pub(super) fn new(sources: NameSources) -> Self {
        Self { sources, servers: Mutex::new(None) }
    }

    /// All addresses of a name, IPv6 first; never none. May take longer than `timeout`, which is what the whole probe has.
    pub(super) async fn addresses(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, NoAddress> {
        let hosts = tokio::fs::read(&self.sources.hosts).await.unwrap_or_default();
        let listed = listed(&String::from_utf8_lossy(&hosts), host);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let servers = self.servers(timeout).await?;
        let mut fault = NoAddress::NoSuchName;
        for name in candidates(host, &servers.search) {
            match servers.ask(name).await {
                Ok(addresses) => return Ok(addresses),
                Err(NoAddress::NoSuchName) => {}
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    async fn servers(&self, timeout: Duration) -> Result<Arc<Servers>, NoAddress> {
        let resolv_conf = tokio::fs::read(&self.sources.resolv_conf).await.unwrap_or_default();
        let mut known = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = &*known
            && servers.resolv_conf == resolv_conf
            && servers.timeout == timeout
        {
            return Ok(servers.clone());
        }
        let servers = Arc::new(Servers::new(resolv_conf, timeout, self.sources.dns_port).ok_or(NoAddress::Failed)?);
        *known = Some(servers.clone());
        Ok(servers)
    }
}

impl Servers {
    fn new(resolv_conf: Vec<u8>, timeout: Duration, port: u16) -> Option<Self> {
        // What it cannot read of the file it leaves out, as every resolver does.
        let (read, _unreadable) = resolv_conf::Config::parse_with_errors(&resolv_conf);
        let name_servers = read.get_nameservers_or_local().into_iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp((&address).into());
            server.connections.iter_mut().for_each(|ConnectionConfig { port: asked, .. }| *asked = port);
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), name_servers.collect());
        let mut options = ResolverOpts::default();
        let told = Duration::from_secs(read.timeout.into());
        options.timeout = (timeout / TRIES).clamp(SHORTEST_WAIT, told.max(SHORTEST_WAIT));
        options.attempts = TRIES as usize - 1;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.positive_max_ttl = Some(Duration::ZERO);
        options.negative_max_ttl = Some(Duration::ZERO);
        let search = read.get_last_search_or_domain().cloned().collect();
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().ok()?;
        Some(Self { resolv_conf, timeout, search: of_the_nodes(search), resolver })
    }

    /// The addresses of both families. A name server that never answers for one of them, as some do for IPv6, costs half of
    /// the time, and not all of it.
    async fn ask(&self, name: Name) -> Result<Vec<IpAddr>, NoAddress> {
        let patience = Instant::now() + self.timeout / 2;
        let ipv6 = pin!(self.of_family(name.clone(), RecordType::AAAA));
        let ipv4 = pin!(self.of_family(name, RecordType::A));
        let (first, other) = match select(ipv6, ipv4).await {
            Either::Left((ipv6, ipv4)) => (ipv6, Either::Left(ipv4)),
            Either::Right((ipv4, ipv6)) => (ipv4, Either::Right(ipv6)),
        };
        let other = match &first {
            Ok(_) => timeout_at(patience, other).await.unwrap_or(Err(NoAddress::NoAnswer)),
            Err(_) => other.await,
        };
        match (first, other) {
            (Ok(mut addresses), Ok(more)) => {
                addresses.extend(more);
                addresses.sort_by_key(IpAddr::is_ipv4);
                Ok(addresses)
            }
            (Ok(addresses), Err(_)) | (Err(_), Ok(addresses)) => Ok(addresses),
            (Err(NoAddress::NoSuchName), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
        }
    }

    async fn of_family(&self, name: Name, family: RecordType) -> Result<Vec<IpAddr>, NoAddress> {
        let found = self.resolver.lookup(name, family).await.map_err(|error| match error {
            error if error.is_nx_domain() || error.is_no_records_found() => NoAddress::NoSuchName,
            NetError::Dns(_) => NoAddress::Failed,
            _ => NoAddress::NoAnswer,
        })?;
        let addresses: Vec<IpAddr> = found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() { Err(NoAddress::NoSuchName) } else { Ok(addresses) }
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("search", &self.search).finish_non_exhaustive()
    }
}

/// The addresses that a `hosts` file gives a name, in its order.
fn listed(hosts: &str, host: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let lists = |mut names: std::str::SplitWhitespace<'_>| {
        names.any(|name| name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host))
    };
    let mut addresses = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        if let Some(Ok(address)) = words.next().map(str::parse)
            && lists(words)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// The names that are asked for one, in turn; each is absolute. What is no name at all is nothing.
fn candidates(host: &str, search: &[String]) -> Vec<Name> {
    let absolute = |name: String| Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).ok();
    let itself = absolute(host.to_owned());
    let searched = search.iter().filter_map(|domain| absolute(format!("{host}.{domain}")));
    if host.contains('.') { itself.into_iter().chain(searched).collect() } else { searched.chain(itself).collect() }
}

/// The search domains without those that the kubelet put in front: `NAMESPACE.svc.D`, `svc.D` and `D`.
fn of_the_nodes(search: Vec<String>) -> Vec<String> {
    let bare = |domain: &str| domain.trim_end_matches('.').to_ascii_lowercase();
    let cluster = search.iter().find_map(|domain| bare(domain).strip_prefix("svc.").map(str::to_owned));
    let Some(cluster) = cluster else { return search };
    let services = format!("svc.{cluster}");
    let is_of_the_cluster = |domain: &String| {
        let domain = bare(domain);
        domain == cluster
            || domain.strip_suffix(&services).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    search.into_iter().filter(|domain| !is_of_the_cluster(domain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(of: &[&str]) -> Vec<String> {
        of.iter().map(|&domain| domain.to_owned()).collect()
    }

    #[test]
    fn p2_a_hosts_file_is_read_as_it_is_written() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 harbor.corp\n10.0.0.1\tHarbor.Corp harbor # one\nfd00::1 harbor.corp.\n\
                     fe80::1%eth0 harbor.corp\nnonsense harbor.corp\n10.0.0.1 harbor.corp\n10.0.0.2 xharbor.corp\n";
        let found = |host| listed(hosts, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("harbor.corp"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(found("harbor"), ["10.0.0.1"]);
        assert!(found("corp").is_empty());
    }

    #[test]
    fn p2_names_are_asked_in_the_order_of_a_node() {
        let search = domains(&["corp.example", "lan."]);
        let asked = |host: &str| candidates(host, &search).iter().map(Name::to_ascii).collect::<Vec<_>>();
        assert_eq!(asked("harbor.corp"), ["harbor.corp.", "harbor.corp.corp.example.", "harbor.corp.lan."]);
        assert_eq!(asked("harbor"), ["harbor.corp.example.", "harbor.lan.", "harbor."]);
        assert_eq!(asked("xn--bcher-kva.example")[0], "xn--bcher-kva.example.");
        assert!(asked(&"a".repeat(64)).is_empty());
    }

    #[test]
    fn p2_the_search_domains_of_the_cluster_are_not_the_nodes() {
        let pod =
            domains(&["mirrorgate-system.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]);
        assert_eq!(of_the_nodes(pod), ["corp.example"]);
        let machine = domains(&["corp.example", "lan", "xsvc.lan"]);
        assert_eq!(of_the_nodes(machine.clone()), machine);
    }
}
