//! Checks the structure of the sources, crate by crate:
//!
//! - No two files import each other, directly or through others. An import counts towards the file that defines the
//!   name, whichever module re-exports it. A module and the modules that it declares may know each other.
//! - No function is longer than [`MAX_FUNCTION_LINES`].
//!
//! Usage: `structure CRATE_DIRECTORY...`. Prints each violation and exits with status 1 if there is any.

mod cycles;
mod functions;
mod imports;
mod modules;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use modules::Crate;

/// The longest function that is accepted, from its signature to its closing brace.
const MAX_FUNCTION_LINES: usize = 60;

fn main() -> Result<ExitCode> {
    let mut files = 0;
    let mut violations = Vec::new();
    for directory in std::env::args_os().skip(1).map(PathBuf::from) {
        for root in roots(&directory) {
            let checked = Crate::load(&root)?;
            files += checked.modules.len();
            violations.extend(check(&checked));
        }
    }
    for violation in &violations {
        eprintln!("{violation}");
    }
    if files == 0 {
        anyhow::bail!("there are no sources in the directories given");
    }
    println!("{files} files checked: {} violations", violations.len());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The root files of a package's library, binary and integration tests.
fn roots(package: &Path) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = ["src/lib.rs", "src/main.rs"].map(|root| package.join(root)).into();
    for entry in std::fs::read_dir(package.join("tests")).into_iter().flatten().flatten() {
        let path = entry.path();
        roots.push(if path.is_dir() { path.join("main.rs") } else { path });
    }
    roots.retain(|root| root.is_file() && root.extension().is_some_and(|extension| extension == "rs"));
    roots.sort();
    roots
}

fn check(checked: &Crate) -> Vec<String> {
    let imports = imports::between_files(checked);
    let path = |module: usize| checked.modules[module].file.display();
    let mut violations = Vec::new();
    for cycle in cycles::find(checked.modules.len(), imports.keys().copied()) {
        violations.push(format!("import cycle of {} files:", cycle.len()));
        for ((from, to), names) in &imports {
            if cycle.contains(from) && cycle.contains(to) {
                let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
                violations.push(format!("  {} imports {names} from {}", path(*from), path(*to)));
            }
        }
    }
    for module in &checked.modules {
        for function in functions::longer_than(MAX_FUNCTION_LINES, &module.syntax) {
            let functions::Function { name, line, lines } = function;
            violations.push(format!(
                "{}:{line}: `{name}` has {lines} lines, more than {MAX_FUNCTION_LINES}",
                module.file.display()
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a crate made of these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it is in the directory")).expect("it can be made");
            std::fs::write(path, text).expect("it can be written");
        }
        check(&Crate::load(&directory.path().join("lib.rs")).expect("it can be read"))
    }

    #[test]
    fn files_that_import_one_way_pass() {
        let lib = "mod a; mod b; pub use a::A;";
        assert!(
            found(&[("lib.rs", lib), ("a.rs", "use crate::b::B; pub struct A(B);"), ("b.rs", "pub struct B;")])
                .is_empty()
        );
    }

    #[test]
    fn a_cycle_through_a_re_export_is_found() {
        let found = found(&[
            ("lib.rs", "mod a; mod b; mod c; pub use a::A;"),
            ("a.rs", "use crate::b; pub struct A; fn f() { b::g() }"),
            ("b.rs", "use super::c::C; pub fn g() {}"),
            ("c.rs", "pub struct C(super::A);"),
        ]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("3 files"), "{found:?}");
        assert!(found.iter().any(|line| line.contains("imports A from") && line.contains("c.rs")), "{found:?}");
    }

    #[test]
    fn a_cycle_between_a_file_and_one_in_a_folder_is_found() {
        let found = found(&[
            ("lib.rs", "mod a; mod folder;"),
            ("a.rs", "use crate::folder::inside::I; pub struct A;"),
            ("folder/mod.rs", "pub mod inside;"),
            ("folder/inside.rs", "use crate::a::*; pub struct I;"),
        ]);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_module_and_what_it_declares_may_know_each_other() {
        assert!(
            found(&[
                ("lib.rs", "mod a; use a::A; pub struct Top(A);"),
                ("a.rs", "pub struct A; fn f(_: crate::Top) {}")
            ])
            .is_empty()
        );
    }

    #[test]
    fn a_long_function_is_found() {
        let body = "x();\n".repeat(MAX_FUNCTION_LINES);
        let found = found(&[("lib.rs", &format!("struct S;\nimpl S {{\nfn long() {{\n{body}}}\n}}"))]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("lib.rs:3: `long` has 62 lines"), "{found:?}");
    }
}
