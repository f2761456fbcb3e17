//! The shape of the code, read from its source: imports run one way, as the crate page says, and the pure modules stay
//! pure. What is in comments, strings and test modules does not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Without clock, file, socket and `async`.
const PURE: &[&str] = &["image", "json", "yaml", "keyring", "trust", "policy", "review"];
/// What gives one of those away, wherever it stands.
const IMPURE_WORDS: &[&str] = &[
    "async",
    "await",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "tokio",
    "futures",
    "hyper",
    "hyper_util",
    "axum",
    "tower",
    "kube",
    "k8s_openapi",
    "now",
    "rustls",
    "tokio_rustls",
    "tracing",
    "anyhow",
    "clap",
    "unsafe",
];
/// The modules of the standard library that touch the world.
const IMPURE_STD: &[&str] = &["env", "fs", "net", "os", "process", "thread"];

#[test]
fn imports_run_one_way() {
    let order = import_order();
    let rank = |module: &str| order.iter().position(|name| name == module);
    let mut faults = Vec::new();
    for (path, module, source) in sources() {
        let own = rank(&module).unwrap_or_else(|| panic!("{module} is not in the line of imports in src/lib.rs"));
        for imported in imports(&path, &source) {
            match rank(&imported) {
                Some(rank) if rank <= own => {}
                Some(_) => faults.push(format!("{} imports {imported}, which stands to the right", path.display())),
                None => faults.push(format!("{} imports {imported}, which is no module of the line", path.display())),
            }
        }
    }
    assert!(faults.is_empty(), "against `{}`:\n{}", order.join(" <- "), faults.join("\n"));
}

#[test]
fn the_line_of_imports_is_the_modules() {
    let order = import_order();
    let modules: BTreeSet<String> = sources().into_iter().map(|(_, module, _)| module).collect();
    assert_eq!(modules, order.into_iter().collect());
}

#[test]
fn the_pure_modules_use_no_clock_file_socket_or_async() {
    let mut faults = Vec::new();
    for (path, module, source) in sources() {
        if PURE.contains(&module.as_str()) {
            let words = words(&source);
            faults.extend(
                IMPURE_WORDS
                    .iter()
                    .filter(|impure| words.contains(**impure))
                    .map(|impure| format!("{}: {impure}", path.display())),
            );
            faults.extend(
                heads(&source, "std::")
                    .iter()
                    .filter(|name| IMPURE_STD.contains(&name.as_str()))
                    .map(|name| format!("{}: std::{name}", path.display())),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The modules from left to right, as `src/lib.rs` prints them.
fn import_order() -> Vec<String> {
    let page = fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("//! Imports run one way: `")).unwrap();
    line.split('`').next().unwrap().split(" <- ").map(str::to_owned).collect()
}

/// Every source file but the crate page: its path, its module directly under the crate, and its code.
fn sources() -> Vec<(PathBuf, String, String)> {
    let mut folders = vec![source_folder()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(source_folder()).unwrap().to_owned();
                let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
                if module != "lib" {
                    found.push((relative, module, code(&fs::read_to_string(&path).unwrap())));
                }
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The crate's modules that a file names: by `crate::`, by `mirrorgate::` in the binary, or by climbing to the root with
/// `super::`.
fn imports(path: &Path, source: &str) -> BTreeSet<String> {
    let mut found = heads(source, "crate::");
    if path == Path::new("main.rs") {
        found.extend(heads(source, "mirrorgate::"));
    }
    let depth = path.iter().count() - usize::from(path.ends_with("mod.rs"));
    let climb = "super::".repeat(depth);
    found.extend(heads(source, &climb).into_iter().filter(|name| name != "super"));
    found
}

/// The first name of each path after a prefix; of all paths, where they stand in braces.
fn heads(source: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in source.match_indices(prefix) {
        let before = source[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
            continue;
        }
        let rest = &source[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(first_name(rest)),
        }
    }
    found
}

/// The first names in `a, b::{c, d}, e}`: a, b, e.
fn group_heads(group: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut depth, mut is_head) = (0_usize, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_head = true,
            _ if is_head && !character.is_whitespace() => {
                found.extend(first_name(&group[at..]));
                is_head = false;
            }
            _ => {}
        }
    }
    found
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn words(source: &str) -> BTreeSet<&str> {
    source.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

/// The code of a file without comments, without what stands in strings, and without its test module, which is last.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(skipped) = literal(rest, &code) {
            code.push_str("\"\"");
            rest = &rest[skipped..];
        } else if rest.starts_with("#[cfg(test)]\nmod ") {
            break;
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    code
}

/// How long the string or character literal is that a text begins with, if it does.
fn literal(text: &str, before: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix('r').filter(|_| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 1 + hashes + 1;
            return Some(start + text[start..].find(&end)? + end.len());
        }
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            // A lifetime, and no character.
            _ if quote == '\'' && at > 1 && !text.starts_with("'\\") => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let source = code(concat!(
        "//! crate::a\nuse crate::{b::{c, d}, e, self};\nuse std::{fmt, fs::File};\n/* crate::f */ fn g<'x>(h: &'x str) -> char { '\"' }\n",
        "const I: &str = \"crate::j \\\" crate::k\"; const L: &str = r#\"crate::m\" tokio\"#; '\\''; crate::n::o(); super::super::p::q();\n",
        "mycrate::r; #[cfg(test)]\nmod tests { use crate::s; }\n",
    ));
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(imports(Path::new("x/y.rs"), &source), names(&["b", "e", "self", "n", "p"]));
    assert_eq!(imports(Path::new("x/mod.rs"), &source), names(&["b", "e", "self", "n"]));
    assert_eq!(heads(&source, "std::"), names(&["fmt", "fs"]));
    assert!(!words(&source).contains("tokio") && words(&source).contains("char"));
}
