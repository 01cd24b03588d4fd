//! Strongly connected components of a graph, after Tarjan.

/// The groups of more than one node in which each is reached from each other, in order.
pub(crate) fn find(nodes: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges: vec![Vec::new(); nodes],
        index: vec![None; nodes],
        low: vec![0; nodes],
        is_on_stack: vec![false; nodes],
        stack: Vec::new(),
        visited: 0,
        found: Vec::new(),
    };
    for (from, to) in edges {
        search.edges[from].push(to);
    }
    for node in 0..nodes {
        if search.index[node].is_none() {
            search.visit(node);
        }
    }
    search.found.sort();
    search.found
}

struct Search {
    edges: Vec<Vec<usize>>,
    /// When each node was visited first.
    index: Vec<Option<usize>>,
    /// The earliest visited node on the stack that each leads back to.
    low: Vec<usize>,
    is_on_stack: Vec<bool>,
    stack: Vec<usize>,
    visited: usize,
    found: Vec<Vec<usize>>,
}

impl Search {
    fn visit(&mut self, node: usize) {
        let index = self.visited;
        self.visited += 1;
        self.index[node] = Some(index);
        self.low[node] = index;
        self.stack.push(node);
        self.is_on_stack[node] = true;
        for next in self.edges[node].clone() {
            match self.index[next] {
                None => {
                    self.visit(next);
                    self.low[node] = self.low[node].min(self.low[next]);
                }
                Some(index) if self.is_on_stack[next] => self.low[node] = self.low[node].min(index),
                Some(_) => {}
            }
        }
        if self.low[node] != index {
            return;
        }
        let start = self.stack.iter().rposition(|on_stack| *on_stack == node).expect("it was put on the stack above");
        let mut component = self.stack.split_off(start);
        for node in &component {
            self.is_on_stack[*node] = false;
        }
        if component.len() > 1 {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}
