//! A name server on the loopback range, and the files that name it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mirrorgate::probe::{Dialler, NameSources};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What it says of a name, however often it is asked: the last entry stays.
#[derive(Clone)]
pub(super) enum Says {
    Addresses(&'static [&'static str]),
    /// First this, then that.
    Then(&'static [&'static str], &'static [&'static str]),
    /// These, and never a word on the others.
    OnlyOfIpv4(&'static [&'static str]),
    ServerFailure,
    Nothing,
}

pub(super) struct NameServer {
    pub(super) files: TempDir,
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// Knows these names; of others it says that there are none.
    pub(super) async fn start(names: &[(&str, Says)]) -> Self {
        let names: HashMap<String, Says> =
            names.iter().map(|(name, says)| ((*name).to_owned(), says.clone())).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut query = [0; 1500];
            loop {
                let (size, from) = socket.recv_from(&mut query).await.unwrap();
                let (name, kind, end) = question(&query[..size]);
                let label = if kind == 1 { "A" } else { "AAAA" };
                let before = {
                    let mut log = log.lock().unwrap();
                    let question = format!("{label} {name}");
                    let before = log.iter().filter(|asked| **asked == question).count();
                    log.push(question);
                    before
                };
                if let Some(answer) = reply(&query[..end], names.get(&name), kind, before) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions ndots:5 timeout:1\n").unwrap();
        std::fs::write(files.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        Self { files, address, asked, _tasks: tasks }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(super) fn sources(&self) -> NameSources {
        NameSources { hosts: self.file("hosts"), resolv_conf: self.file("resolv.conf"), dns_port: self.address.port() }
    }

    pub(super) fn dialler(&self) -> Dialler {
        Dialler::with_names(self.sources())
    }

    /// What it was asked, in order: `A harbor.corp`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Name, type and the end of a query's question.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

fn reply(query: &[u8], says: Option<&Says>, kind: u16, before: usize) -> Option<Vec<u8>> {
    let (code, texts): (u8, &[&str]) = match says {
        None => (3, &[]),
        Some(Says::Nothing) => return None,
        Some(Says::OnlyOfIpv4(_)) if kind != 1 => return None,
        Some(Says::ServerFailure) => (2, &[]),
        Some(Says::Addresses(addresses) | Says::OnlyOfIpv4(addresses)) => (0, addresses),
        Some(Says::Then(first, then)) => (0, if before == 0 { first } else { then }),
    };
    let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let of_kind: Vec<&IpAddr> = addresses.iter().filter(|address| address.is_ipv4() == (kind == 1)).collect();
    let mut reply = query.to_vec();
    reply[2] = 0x81;
    reply[3] = 0x80 | code;
    reply[6..12].copy_from_slice(&[0, u8::try_from(of_kind.len()).unwrap(), 0, 0, 0, 0]);
    for address in of_kind {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0x0e, 0x10, 0, u8::try_from(data.len()).unwrap()]);
        reply.extend(data);
    }
    Some(reply)
}
