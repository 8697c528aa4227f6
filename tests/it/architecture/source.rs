//! The files below `src/`, as the house rules read them: without comments, texts and test items.

use std::path::{Path, PathBuf};

use crate::server;

/// A file below `src/`.
pub struct Source {
    /// The directory or file directly below `src/` that it belongs to.
    pub room: String,
    /// Relative to `src/`.
    pub path: PathBuf,
    /// As it is.
    pub text: String,
    /// Without comments and test items, with the line's number.
    pub code: Vec<(usize, String)>,
}

/// All of them, in the order of their paths.
pub fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    find(&server::repository().join("src"), &mut files);
    assert!(!files.is_empty());
    files.into_iter().map(|path| Source::read(&path)).collect()
}

/// The Rust files below a directory, in the order of their paths.
pub fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).expect("readable").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let short =
            path.strip_prefix(server::repository().join("src")).expect("below src").to_owned();
        let first =
            short.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        let code = if is_test_file(&short) { Vec::new() } else { code(&text) };
        Source { room, path: short, text, code }
    }

    /// For a message.
    pub fn at(&self, line: usize) -> String {
        format!("src/{}:{line}", self.path.display())
    }

    /// The module that the file is: `exec/view/mod.rs` is `exec::view`.
    pub fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            parts.pop();
        }
        parts
    }
}

/// A file of tests has it in its name, or in that of its directory.
fn is_test_file(path: &Path) -> bool {
    path.with_extension("")
        .iter()
        .any(|part| ["tests", "against_postgres"].contains(&&*part.to_string_lossy()))
        || path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("_tests"))
}

/// What is neither comment nor test. The code is formatted, so that an item ends with the first
/// line at its own depth that closes it.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut code = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim() == "#[cfg(test)]" {
            at = item_end(&lines, at + 1) + 1;
            continue;
        }
        if !lines[at].trim_start().starts_with("//") {
            code.push((at + 1, lines[at].split(" // ").next().unwrap_or_default().to_owned()));
        }
        at += 1;
    }
    code
}

/// The last line of the item that begins at `from`, after more attributes.
pub fn item_end(lines: &[&str], from: usize) -> usize {
    let mut at = from;
    while lines.get(at).is_some_and(|line| line.trim_start().starts_with("#[")) {
        at += 1;
    }
    let Some(first) = lines.get(at) else { return at };
    let depth = first.len() - first.trim_start().len();
    let ends = |line: &str| {
        let trimmed = line.trim_start();
        line.len() - trimmed.len() == depth && (trimmed.starts_with('}') || trimmed.ends_with(';'))
    };
    if first.trim_end().ends_with([';', '}', ',']) {
        return at;
    }
    (at + 1..lines.len()).find(|line| ends(lines[*line])).unwrap_or(lines.len())
}

#[test]
fn code_after_a_test_item_is_read() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\nuse b;\n#[cfg(test)]\nfn f() {\n    g();\n}\nfn h() {}\n";
    let read: Vec<String> = code(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(read, ["mod a;", "use b;", "fn h() {}"]);
}
