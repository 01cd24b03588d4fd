//! Reads a crate: which modules it has, and what each defines and re-exports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::{Ident, Item, UseTree};

/// A crate's modules. The first is its root.
pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
}

/// A module that has a file of its own.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) parent: Option<usize>,
    pub(crate) children: HashMap<String, usize>,
    /// Names that the module imports or re-exports, each with the path that it stands for.
    pub(crate) uses: HashMap<String, Vec<String>>,
    /// Paths from which everything is imported.
    pub(crate) globs: Vec<Vec<String>>,
    /// Names that the module's own items define.
    pub(crate) defines: Vec<String>,
    pub(crate) syntax: syn::File,
}

impl Crate {
    /// Read the crate with this root file.
    pub(crate) fn load(root: &Path) -> Result<Crate> {
        let mut loaded = Crate { modules: Vec::new() };
        let directory = root.parent().context("the root file is in no directory")?;
        loaded.add(root.to_owned(), directory, None)?;
        Ok(loaded)
    }

    /// Add a module and, below it, those that it declares: their files are in `directory`.
    fn add(&mut self, file: PathBuf, directory: &Path, parent: Option<usize>) -> Result<usize> {
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("{} isn't Rust", file.display()))?;
        let (mut uses, mut globs, mut defines, mut declared) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        for item in &syntax.items {
            match item {
                Item::Use(item) => flatten(&item.tree, &mut Vec::new(), &mut uses, &mut globs),
                Item::Mod(module) if module.content.is_none() => declared.push(module.ident.to_string()),
                item => defines.extend(name_of(item).map(Ident::to_string)),
            }
        }
        let number = self.modules.len();
        self.modules.push(Module { file, parent, children: HashMap::new(), uses, globs, defines, syntax });
        for name in declared {
            let name = name.trim_start_matches("r#");
            let beside = directory.join(format!("{name}.rs"));
            let file = if beside.is_file() { beside } else { directory.join(name).join("mod.rs") };
            let child = self.add(file, &directory.join(name), Some(number))?;
            self.modules[number].children.insert(name.to_owned(), child);
        }
        Ok(number)
    }

    /// Whether one of the two modules is above the other.
    pub(crate) fn are_related(&self, one: usize, other: usize) -> bool {
        self.is_above(one, other) || self.is_above(other, one)
    }

    fn is_above(&self, above: usize, module: usize) -> bool {
        std::iter::successors(Some(module), |module| self.modules[*module].parent).any(|module| module == above)
    }
}

/// The names that a `use` brings, each with its whole path.
pub(crate) fn flatten(
    tree: &UseTree,
    prefix: &mut Vec<String>,
    uses: &mut HashMap<String, Vec<String>>,
    globs: &mut Vec<Vec<String>>,
) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, uses, globs);
            prefix.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, uses, globs);
            }
        }
        UseTree::Glob(_) => globs.push(prefix.clone()),
        UseTree::Name(name) => bring(&name.ident, &name.ident, prefix, uses),
        UseTree::Rename(rename) => bring(&rename.ident, &rename.rename, prefix, uses),
    }
}

fn bring(name: &Ident, known_as: &Ident, prefix: &[String], uses: &mut HashMap<String, Vec<String>>) {
    let (mut path, mut known_as) = (prefix.to_vec(), known_as.to_string());
    // `use a::b::{self}` brings `b`.
    if name == "self" {
        if known_as == "self" {
            known_as = prefix.last().cloned().unwrap_or_default();
        }
    } else {
        path.push(name.to_string());
    }
    uses.insert(known_as, path);
}

fn name_of(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Mod(item) => Some(&item.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
