//! Finds out which file each path in a crate leads to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syn::visit::{self, Visit};

use crate::modules::{Crate, flatten};

/// How many re-exports a name may go through.
const MAX_HOPS: usize = 32;

/// Which module imports what from which other one.
pub(crate) type Imports = BTreeMap<(usize, usize), BTreeSet<String>>;

/// The imports between modules of which none is above the other.
pub(crate) fn between_files(checked: &Crate) -> Imports {
    let mut imports = Imports::new();
    for (number, module) in checked.modules.iter().enumerate() {
        let mut paths = Paths::default();
        paths.visit_file(&module.syntax);
        for path in paths.found {
            let Some((defined_in, name)) = resolve(checked, number, &path, 0) else { continue };
            if defined_in != number && !checked.are_related(number, defined_in) {
                imports.entry((number, defined_in)).or_default().insert(name);
            }
        }
    }
    imports
}

/// All paths of a file, with those of its `use` items.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
    /// How many modules inside the file surround what is visited.
    depth: usize,
}

impl Paths {
    /// A path as seen from the file's own module.
    fn add(&mut self, mut path: Vec<String>) {
        let supers = path.iter().take(self.depth).take_while(|segment| *segment == "super").count();
        if supers > 0 {
            path.splice(..supers, ["self".to_owned()]);
        }
        self.found.push(path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let (mut uses, mut globs) = (HashMap::new(), Vec::new());
        flatten(&item.tree, &mut Vec::new(), &mut uses, &mut globs);
        for path in uses.into_values().chain(globs) {
            self.add(path);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, module);
        self.depth -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    // A restricted visibility names an ancestor, and imports nothing from it.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The module that defines what a path, written in `from`, leads to. None: it isn't of this crate.
fn resolve(checked: &Crate, from: usize, path: &[String], hops: usize) -> Option<(usize, String)> {
    if hops > MAX_HOPS {
        return None;
    }
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => within(checked, 0, rest, hops),
        "self" => within(checked, from, rest, hops),
        "super" => match checked.modules[from].parent {
            Some(parent) if rest.first().is_some_and(|next| next == "super") => {
                resolve(checked, parent, rest, hops + 1)
            }
            Some(parent) => within(checked, parent, rest, hops),
            None => None,
        },
        _ => within(checked, from, path, hops),
    }
}

/// The module that defines what a path leads to, seen from inside `module`.
fn within(checked: &Crate, module: usize, path: &[String], hops: usize) -> Option<(usize, String)> {
    let inside = &checked.modules[module];
    let Some((first, rest)) = path.split_first() else { return Some((module, "itself".to_owned())) };
    if let Some(child) = inside.children.get(first.as_str()) {
        return within(checked, *child, rest, hops + 1);
    }
    if inside.defines.contains(first) {
        return Some((module, first.clone()));
    }
    if let Some(target) = inside.uses.get(first) {
        if target.first() == Some(first) && !inside.children.contains_key(first.as_str()) {
            return None;
        }
        let target: Vec<String> = target.iter().chain(rest).cloned().collect();
        return resolve(checked, module, &target, hops + 1);
    }
    inside.globs.iter().find_map(|glob| {
        let target: Vec<String> = glob.iter().chain(path).cloned().collect();
        // A glob that begins with the name of another crate leads nowhere here.
        resolve(checked, module, &target, hops + 1)
    })
}
