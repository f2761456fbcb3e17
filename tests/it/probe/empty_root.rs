//! Names where there is nothing but the program: as in an image from scratch, without a system resolver.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The program with the libraries that it is linked to, and two files: no `nsswitch.conf`, and nothing that glibc would
/// load to look a name up.
#[test]
fn p2_names_are_looked_up_without_a_system_resolver() {
    let program = Path::new(env!("CARGO_BIN_EXE_mirrorgate"));
    let root = tempfile::tempdir().unwrap();
    let put = |from: &Path, to: &str| {
        let to = root.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    put(program, "/mirrorgate");
    // Of a static one it says that there is none.
    let linked = Command::new("ldd").arg(program).output().unwrap().stdout;
    for library in String::from_utf8(linked).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        put(Path::new(library), library);
    }
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 harbor.corp\n").unwrap();
    fs::write(root.path().join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();

    // Who is not root is so in a user namespace.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut chroot = if is_root { Command::new("chroot") } else { Command::new("unshare") };
    if !is_root {
        chroot.args(["--user", "--map-root-user", "chroot"]);
    }
    let probed = chroot
        .arg(root.path())
        .args(["/mirrorgate", "probe", "-o", "json", "--timeout", "1s", "harbor.corp:5000", "other.corp:5000"])
        .output()
        .unwrap();
    let answers: Value = serde_json::from_slice(&probed.stdout).unwrap_or_else(|error| panic!("{error}: {probed:?}"));
    // The address of the hosts file, which is never dialled; the other name is for the name server, which is not there.
    assert_eq!(answers[0]["class"], "refused-address", "{answers}");
    assert_eq!(answers[1]["verdict"], "unreachable", "{answers}");
    assert_ne!(answers[1]["class"], "refused-address", "{answers}");
}
