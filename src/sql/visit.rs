//! The one way over the syntax of a statement.
//!
//! sqlparser derives its traversal for every kind of visitor anew: all nodes of the language, each
//! with its check of the stack. With two dozen visitors that was 7 of the 12 million lines that
//! LLVM was given for this crate, more than half of the time it took to compile. So everyone goes
//! through here, where one traversal that reads and one that changes call the visitor as an object.
//! clippy refuses the others (`clippy.toml`).
//!
//! What a visitor breaks off with is kept beside it, so that the object's type does not depend on
//! it.

#![expect(clippy::disallowed_methods, reason = "this is the place that they are refused for")]

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Leads a visitor over a tree, from the outside in and from left to right, until it breaks off.
pub fn visit<V: Visitor>(tree: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut recorded = Recorded { visitor, broken: None };
    let _ = tree.visit(&mut Object(&mut recorded));
    recorded.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// The same with a visitor that changes what it sees. What it has changed before it broke off stays
/// changed.
pub fn visit_mut<V: VisitorMut>(
    tree: &mut impl VisitMut,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let mut recorded = Recorded { visitor, broken: None };
    let _ = tree.visit(&mut ObjectMut(&mut recorded));
    recorded.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Calls `see` for each expression of a tree, those of subqueries too, before its parts.
pub fn visit_expressions<B>(
    tree: &impl Visit,
    see: impl FnMut(&Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    visit(tree, &mut Expressions(see))
}

/// Calls `see` for each name of a relation in a tree.
pub fn visit_relations<B>(
    tree: &impl Visit,
    see: impl FnMut(&ObjectName) -> ControlFlow<B>,
) -> ControlFlow<B> {
    visit(tree, &mut Relations(see))
}

/// A visitor, and what it broke off with.
struct Recorded<'a, V, B> {
    visitor: &'a mut V,
    broken: Option<B>,
}

impl<V, B> Recorded<'_, V, B> {
    fn record(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(broken) => {
                self.broken = Some(broken);
                ControlFlow::Break(())
            }
        }
    }
}

struct Object<'a>(&'a mut dyn Visitor<Break = ()>);

struct ObjectMut<'a>(&'a mut dyn VisitorMut<Break = ()>);

/// Each method of the trait, for a recorded visitor and for the object that hands on to it.
macro_rules! hand_on {
    ($visitor:ident, $object:ident, { $($method:ident: $node:ty,)* }) => {
        impl<V: $visitor> $visitor for Recorded<'_, V, V::Break> {
            type Break = ();
            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                let flow = self.visitor.$method(node);
                self.record(flow)
            })*
        }

        impl $visitor for $object<'_> {
            type Break = ();
            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$method(node)
            })*
        }
    };
}

hand_on!(Visitor, Object, {
    pre_visit_query: &Query,
    post_visit_query: &Query,
    pre_visit_select: &Select,
    post_visit_select: &Select,
    pre_visit_relation: &ObjectName,
    post_visit_relation: &ObjectName,
    pre_visit_table_factor: &TableFactor,
    post_visit_table_factor: &TableFactor,
    pre_visit_expr: &Expr,
    post_visit_expr: &Expr,
    pre_visit_statement: &Statement,
    post_visit_statement: &Statement,
    pre_visit_value: &ValueWithSpan,
    post_visit_value: &ValueWithSpan,
});

hand_on!(VisitorMut, ObjectMut, {
    pre_visit_query: &mut Query,
    post_visit_query: &mut Query,
    pre_visit_select: &mut Select,
    post_visit_select: &mut Select,
    pre_visit_relation: &mut ObjectName,
    post_visit_relation: &mut ObjectName,
    pre_visit_table_factor: &mut TableFactor,
    post_visit_table_factor: &mut TableFactor,
    pre_visit_expr: &mut Expr,
    post_visit_expr: &mut Expr,
    pre_visit_statement: &mut Statement,
    post_visit_statement: &mut Statement,
    pre_visit_value: &mut ValueWithSpan,
    post_visit_value: &mut ValueWithSpan,
});

/// Calls `see` for each expression of a tree that is in no subquery of it, after its parts.
pub fn visit_own_expressions<B>(
    tree: &mut impl VisitMut,
    see: impl FnMut(&mut Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    visit_mut(tree, &mut OwnExpressions { see, depth: 0 })
}

struct OwnExpressions<F> {
    see: F,
    /// Within how many subqueries.
    depth: usize,
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for OwnExpressions<F> {
    type Break = B;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<B> {
        if self.depth == 0 { (self.see)(expr) } else { ControlFlow::Continue(()) }
    }
}

struct Expressions<F>(F);

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Expressions<F> {
    type Break = B;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
        (self.0)(expr)
    }
}

struct Relations<F>(F);

impl<B, F: FnMut(&ObjectName) -> ControlFlow<B>> Visitor for Relations<F> {
    type Break = B;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<B> {
        (self.0)(relation)
    }
}
