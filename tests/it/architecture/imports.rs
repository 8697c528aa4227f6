//! Which file uses which: the arrows between the files below `src/`, and their circles.
//!
//! A path is followed to the file that defines what it names: through the `pub use` of a `mod.rs`,
//! which itself neither uses nor defines it. Circles are strongly connected components (Tarjan
//! 1972).

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::source::Source;

/// The segments of a path from the root of the crate.
type ModulePath = Vec<String>;

/// The files by module, and what each `mod.rs` hands on.
pub struct Imports {
    modules: BTreeMap<Vec<String>, usize>,
    handed_on: BTreeMap<Vec<String>, Vec<Vec<String>>>,
    /// For each file, the files it uses.
    pub uses: Vec<BTreeSet<usize>>,
}

impl Imports {
    /// Reads them out of the code.
    pub fn of(sources: &[Source]) -> Imports {
        let modules =
            sources.iter().enumerate().map(|(at, source)| (source.module(), at)).collect();
        let mut imports = Imports {
            modules,
            handed_on: BTreeMap::new(),
            uses: vec![BTreeSet::new(); sources.len()],
        };
        let named: Vec<(Vec<ModulePath>, Vec<ModulePath>)> = sources.iter().map(paths).collect();
        for (source, (_, public)) in sources.iter().zip(&named) {
            imports.handed_on.insert(source.module(), public.clone());
        }
        for (at, (paths, _)) in named.iter().enumerate() {
            let used: BTreeSet<usize> = paths
                .iter()
                .filter_map(|path| imports.file_of(path, 0))
                .filter(|file| *file != at)
                .collect();
            imports.uses[at] = used;
        }
        imports
    }

    /// The file that defines what an absolute path names.
    fn file_of(&self, path: &[String], followed: usize) -> Option<usize> {
        let length =
            (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let module = path[..length].to_vec();
        let item = path.get(length);
        let next = item.and_then(|item| {
            self.handed_on.get(&module)?.iter().find_map(|public| {
                let last = public.last()?;
                (last == item || last == "*").then(|| public.clone())
            })
        });
        if let Some(mut next) = next
            && followed < 8
        {
            if next.last().is_some_and(|last| last == "*") {
                next.pop();
                next.extend(item.cloned());
                let found = self.file_of(&next, followed + 1);
                // A glob hands on what it has; the item may be the module's own.
                return found.or_else(|| self.modules.get(&module).copied());
            }
            return self.file_of(&next, followed + 1);
        }
        self.modules.get(&module).copied()
    }

    /// The circles: sets of more than one file in which each reaches each.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let mut search = Search {
            uses: &self.uses,
            index: vec![None; self.uses.len()],
            low: vec![0; self.uses.len()],
            stack: Vec::new(),
            circles: Vec::new(),
            next: 0,
        };
        (0..self.uses.len()).for_each(|file| search.visit(file));
        search.circles
    }
}

struct Search<'a> {
    uses: &'a [BTreeSet<usize>],
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    stack: Vec<usize>,
    circles: Vec<Vec<usize>>,
    next: usize,
}

impl Search<'_> {
    fn visit(&mut self, file: usize) {
        if self.index[file].is_some() {
            return;
        }
        self.index[file] = Some(self.next);
        self.low[file] = self.next;
        self.next += 1;
        self.stack.push(file);
        for used in self.uses[file].clone() {
            match self.index[used] {
                None => {
                    self.visit(used);
                    self.low[file] = self.low[file].min(self.low[used]);
                }
                Some(index) if self.stack.contains(&used) => {
                    self.low[file] = self.low[file].min(index)
                }
                Some(_) => {}
            }
        }
        if Some(self.low[file]) == self.index[file] {
            let from = self.stack.iter().position(|on| *on == file).expect("it was pushed");
            let mut circle = self.stack.split_off(from);
            if circle.len() > 1 {
                circle.sort_unstable();
                self.circles.push(circle);
            }
        }
    }
}

/// All absolute paths that a file names, and those that it hands on with `pub use`.
fn paths(source: &Source) -> (Vec<ModulePath>, Vec<ModulePath>) {
    let text: String = source.code.iter().map(|(_, line)| format!("{line}\n")).collect();
    let statement =
        Regex::new(r"(?m)^\s*(pub(?:\([a-z: ]+\))?\s+)?use\s+([^;]+);").expect("a pattern");
    let module = source.module();
    let (mut used, mut public) = (Vec::new(), Vec::new());
    for found in statement.captures_iter(&text) {
        let mut leaves = Vec::new();
        expand(&[], &found[2], &mut leaves);
        let leaves =
            leaves.into_iter().filter_map(|leaf| absolute(&module, leaf, found.get(1).is_some()));
        if found.get(1).is_some() { public.extend(leaves) } else { used.extend(leaves) }
    }
    let rest = statement.replace_all(&text, "");
    let path = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").expect("a pattern");
    for found in path.find_iter(&rest) {
        let parts = found.as_str().split("::").map(str::to_owned).collect();
        used.extend(absolute(&module, parts, false));
    }
    (used, public)
}

/// The leaves of a use tree: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn expand(prefix: &[String], tree: &str, leaves: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, group) = tree.split_once('{').unwrap_or((tree, ""));
    let mut path = prefix.to_vec();
    let parts = head.split("::").map(str::trim).filter(|part| !part.is_empty());
    path.extend(parts.map(|part| part.split_whitespace().next().unwrap_or_default().to_owned()));
    if group.is_empty() {
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        if !path.is_empty() && !tree.is_empty() {
            leaves.push(path);
        }
        return;
    }
    let group = group.trim_end().trim_end_matches('}');
    let (mut depth, mut from) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&path, &group[from..at], leaves);
                from = at + 1;
            }
            _ => {}
        }
    }
    expand(&path, &group[from..], leaves);
}

/// From the root of the crate. In a `pub use` a bare name is a child module's.
fn absolute(module: &[String], path: Vec<String>, is_public: bool) -> Option<Vec<String>> {
    let mut rest = path.iter();
    let mut base = match path.first()?.as_str() {
        "crate" | "tidemill" => {
            rest.next();
            Vec::new()
        }
        "self" => {
            rest.next();
            module.to_vec()
        }
        "super" => module.to_vec(),
        _ if is_public => module.to_vec(),
        _ => return None,
    };
    let mut rest: Vec<String> = rest.cloned().collect();
    while rest.first().is_some_and(|part| part == "super") {
        rest.remove(0);
        base.pop();
    }
    base.extend(rest);
    Some(base)
}

#[test]
fn a_use_tree_has_all_its_leaves() {
    let mut leaves = Vec::new();
    expand(&[], "crate::{a::{self, B}, c as d}", &mut leaves);
    let leaves: Vec<String> = leaves.iter().map(|leaf| leaf.join("::")).collect();
    assert_eq!(leaves, ["crate::a", "crate::a::B", "crate::c"]);
}
