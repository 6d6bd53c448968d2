//! The syntax tree of a template. Every node keeps its place in the source, for error messages.

use serde_json::Value;

/// A byte range of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it declares or assigns variables.
    Action(Pipe),
    If {
        pipe: Pipe,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        pipe: Pipe,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    /// Variables on the left, with their `$`.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assign: bool,
    pub commands: Vec<Command>,
    pub span: Span,
}

/// A function, field or value with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Never empty.
    pub operands: Vec<Operand>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub kind: OperandKind,
    /// What an error quotes.
    pub span: Span,
    /// Where an error points: for a chain of fields, Go points at the second.
    pub at: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    /// A string, number or boolean written in the template.
    Literal(Value),
    Function(crate::functions::Function),
    /// `.A.B`
    Fields(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// `(pipeline)`, and `(pipeline).A.B`
    Pipe(Box<Pipe>, Vec<String>),
    /// `function.A.B`
    FunctionFields(crate::functions::Function, Vec<String>),
}
