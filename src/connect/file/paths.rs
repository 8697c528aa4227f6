//! Which files a path names, and that none of them is outside the directory that connectors may
//! read.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

use super::shown;
use crate::error::{Error, Result, SqlState};

/// A path or glob below a root.
#[derive(Clone)]
pub(super) struct Files {
    root: PathBuf,
    /// One pattern per component of the path.
    parts: Vec<PathPart>,
}

#[derive(Clone)]
enum PathPart {
    Name(String),
    /// With `dotted` the pattern itself begins with a dot: only then does it find names that do.
    Pattern {
        regex: Regex,
        dotted: bool,
    },
}

impl Files {
    pub(super) fn new(root: &Path, path: &str) -> Result<Files> {
        let root = root.canonicalize().map_err(|error| Error::from(error).context(shown(root)))?;
        let parts = names_below(&root, path)?.into_iter().map(|name| part(&name));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(Error::new(SqlState::BadArgument, format!("path '{path}' names no file")));
        }
        let files = Files { root, parts };
        files.list()?;
        Ok(files)
    }

    /// The files there are now, by name, relative to the root.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let mut found = vec![PathBuf::new()];
        for part in &self.parts {
            let mut next = Vec::new();
            for directory in found {
                match part {
                    PathPart::Name(name) => next.push(directory.join(name)),
                    PathPart::Pattern { regex, dotted } => {
                        self.matching(&directory, regex, *dotted, &mut next)?
                    }
                }
            }
            found = next;
        }
        let mut names = Vec::new();
        for path in found {
            if self.root.join(&path).is_file() {
                self.open_path(&path.to_string_lossy())?;
                names.push(path.to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn matching(
        &self,
        directory: &Path,
        regex: &Regex,
        dotted: bool,
        found: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(self.root.join(directory)) else { return Ok(()) };
        for entry in entries {
            let name = entry?.file_name();
            // A name that is not UTF-8 could not be stored with the offset.
            if name
                .to_str()
                .is_some_and(|name| regex.is_match(name) && name.starts_with('.') == dotted)
            {
                found.push(directory.join(name));
            }
        }
        Ok(())
    }

    /// Where the file really is, symbolic links followed; refused when that is outside the root.
    pub(super) fn open_path(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        let real = path.canonicalize().map_err(|error| Error::from(error).context(name))?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(outside(name)) }
    }
}

/// The names of which a path consists, seen from the root, which is a real path.
fn names_below(root: &Path, path: &str) -> Result<Vec<String>> {
    let given = Path::new(path);
    let relative = if given.is_absolute() {
        given.strip_prefix(root).map_err(|_| outside(path))?
    } else {
        given
    };
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(outside(path));
            }
        }
    }
    Ok(names)
}

/// A directory below the root, made if it is not there; refused when it really is elsewhere.
pub(super) fn directory(root: &Path, path: &str) -> Result<PathBuf> {
    let of = |path: &Path| {
        let shown = shown(path);
        move |error: std::io::Error| Error::from(error).context(shown)
    };
    let root = root.canonicalize().map_err(of(root))?;
    let mut directory = root.clone();
    for name in names_below(&root, path)? {
        directory.push(name);
        if !directory.is_dir() {
            std::fs::create_dir(&directory).map_err(of(Path::new(path)))?;
        }
        // One at a time: a link on the way could lead elsewhere, and nothing is made there.
        directory = directory.canonicalize().map_err(of(Path::new(path)))?;
        if !directory.starts_with(&root) {
            return Err(outside(path));
        }
    }
    Ok(directory)
}

fn outside(path: &str) -> Error {
    Error::new(
        SqlState::InsufficientPrivilege,
        format!("'{path}' is outside the directory for files"),
    )
    .hint("Connectors read and write only below the directory given by --files.")
}

/// `*` is any characters, `?` one, `[…]` one of a set; a leading dot must be written.
fn part(name: &str) -> Result<PathPart> {
    if !name.contains(['*', '?', '[']) {
        return Ok(PathPart::Name(name.to_owned()));
    }
    let mut pattern = String::from("^");
    let mut chars = name.chars().peekable();
    while let Some(one) = chars.next() {
        match one {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' => {
                pattern.push('[');
                if chars.peek() == Some(&'!') {
                    chars.next();
                    pattern.push('^');
                }
                for inner in chars.by_ref() {
                    match inner {
                        ']' => break,
                        '\\' | '[' | '&' | '~' => pattern.extend(['\\', inner]),
                        other => pattern.push(other),
                    }
                }
                pattern.push(']');
            }
            other => pattern.push_str(&regex::escape(&other.to_string())),
        }
    }
    pattern.push('$');
    let regex = Regex::new(&pattern);
    let dotted = name.starts_with('.');
    regex.map(|regex| PathPart::Pattern { regex, dotted }).map_err(|_| {
        Error::new(SqlState::BadArgument, format!("'{name}' is no pattern for file names"))
            .hint("* is any characters, ? one, [a-z] one of a set.")
    })
}
