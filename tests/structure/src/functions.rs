//! Finds long functions.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A function, with where it begins and how many lines it has.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// The functions of a file that have more lines than this, in order.
pub(crate) fn longer_than(max_lines: usize, syntax: &syn::File) -> Vec<Function> {
    let mut found = Found { max_lines, functions: Vec::new() };
    found.visit_file(syntax);
    found.functions
}

struct Found {
    max_lines: usize,
    functions: Vec<Function>,
}

impl Found {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (line, end) = (signature.span().start().line, block.span().end().line);
        let lines = end + 1 - line;
        if lines > self.max_lines {
            self.functions.push(Function { name: signature.ident.to_string(), line, lines });
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
