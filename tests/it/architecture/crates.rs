//! The crates that we build on: each is used, comes from the registry, and has a licence that
//! `deny.toml` allows. (`cargo deny check` reads the same file, and knows advisories besides.)

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use regex::Regex;

use super::source::find;
use crate::server;

fn file(name: &str) -> String {
    std::fs::read_to_string(server::repository().join(name)).expect("UTF-8")
}

/// The names in a section of `Cargo.toml`.
fn dependencies(section: &str) -> Vec<String> {
    let text = file("Cargo.toml");
    let (_, rest) = text.split_once(&format!("\n[{section}]\n")).expect("the section");
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
}

/// All the Rust text below these directories.
fn rust_below(directories: &[&str]) -> String {
    let mut files = Vec::new();
    directories.iter().for_each(|name| find(&server::repository().join(name), &mut files));
    files.iter().map(|path| std::fs::read_to_string(path).expect("UTF-8")).collect()
}

#[test]
fn every_dependency_is_used() {
    let unused = |section: &str, directories: &[&str]| -> Vec<String> {
        let text = rust_below(directories);
        let is_used = |name: &String| {
            let name = name.replace('-', "_");
            Regex::new(&format!(r"\b{name}(::|!|;)")).expect("a pattern").is_match(&text)
        };
        dependencies(section).into_iter().filter(|name| !is_used(name)).collect()
    };
    assert_eq!(unused("dependencies", &["src"]), [""; 0]);
    assert_eq!(unused("dev-dependencies", &["src", "tests", "benches", "examples"]), [""; 0]);
}

/// Each crate's licence and source, by name and version.
fn crates() -> BTreeMap<String, (String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(server::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let of = |package: &serde_json::Value| {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        (name, (text(&package["license"]), text(&package["source"])))
    };
    packages.iter().map(of).collect()
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_the_registry() {
    let rules = file("deny.toml");
    let (_, allowed) = rules.split_once("allow = [").expect("the licences");
    let (allowed, _) = allowed.split_once(']').expect("the end of the licences");
    let allowed: BTreeSet<&str> = allowed.split('"').skip(1).step_by(2).collect();
    // What is joined by AND must all be allowed, and one of what is joined by OR or a slash.
    let is_allowed = |licence: &str| {
        licence.replace('/', " OR ").split(" AND ").all(|part| {
            let mut choices = part.split(" OR ").map(|one| one.trim_matches(['(', ')']));
            choices.any(|one| allowed.contains(one))
        })
    };
    let crates = crates();
    assert!(crates.len() > 100, "{} crates", crates.len());
    for (name, (licence, source)) in crates {
        assert!(is_allowed(&licence), "{name} has the licence {licence:?}");
        let is_ours = name.starts_with("tidemill ");
        assert!(is_ours || source.starts_with("registry+"), "{name} comes from {source:?}");
    }
}
