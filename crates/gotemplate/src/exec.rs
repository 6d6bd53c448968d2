//! A template applied to a value.

use crate::ast::{Command, Node, Operand, OperandKind, Pipe, Span};
use crate::error::Error;
use crate::functions::{self, Argument, Arity, Failure, Function};
use crate::options::{Missing, Options, Shape};
use crate::val::{Val, absent};
use crate::value;
use serde_json::Value;
use std::borrow::Cow;

/// Most bytes that one rendering may make.
const MAX_OUTPUT: usize = 64 << 20;
/// Most bytes of a string that a function makes: `{{$x = print $x $x}}` in a loop would double without end.
const MAX_STRING: usize = 4 << 20;
/// Most passes of all loops of one rendering.
const MAX_PASSES: u64 = 5_000_000;

enum Flow {
    Next,
    Break,
    Continue,
}

/// The text, or the error with what was written before it.
pub(crate) fn render(
    text: &str,
    nodes: &[Node],
    data: &Value,
    options: &Options<'_>,
) -> Result<String, (Error, String)> {
    let root = Val { json: Cow::Borrowed(data), shape: Shape::Any };
    let mut executor = Executor {
        text,
        options,
        root: data,
        variables: vec![("$".to_owned(), root.clone())],
        out: String::new(),
        passes: 0,
    };
    match executor.list(nodes, &root) {
        Ok(_) => Ok(executor.out),
        Err(error) => Err((error, executor.out)),
    }
}

struct Executor<'t, 'v> {
    text: &'t str,
    options: &'t Options<'t>,
    root: &'v Value,
    variables: Vec<(String, Val<'v>)>,
    out: String,
    passes: u64,
}

impl<'t, 'v> Executor<'t, 'v> {
    fn error(&self, span: Span, at: usize, message: impl Into<String>) -> Error {
        Error::execute(self.text, span, at, message)
    }

    fn at_operand(&self, operand: &Operand, message: impl Into<String>) -> Error {
        self.error(operand.span, operand.at, message)
    }

    fn write(&mut self, text: &str, span: Span) -> Result<(), Error> {
        if self.out.len() + text.len() > MAX_OUTPUT {
            return Err(self.error(span, span.start, format!("output above {MAX_OUTPUT} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, nodes: &'t [Node], dot: &Val<'v>) -> Result<Flow, Error> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(text, Span { start: 0, end: 0 })?,
                Node::Action(pipe) => {
                    let value = self.pipeline(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        let text = value.print().into_owned();
                        self.write(&text, pipe.span)?;
                    }
                }
                Node::If { pipe, then, otherwise } => {
                    let scope = self.variables.len();
                    let value = self.pipeline(pipe, dot)?;
                    let branch = if value::truth(value.json()) { then } else { otherwise };
                    let flow = self.list(branch, dot)?;
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Node::With { pipe, then, otherwise } => {
                    let scope = self.variables.len();
                    let value = self.pipeline(pipe, dot)?;
                    let flow = if value::truth(value.json()) {
                        self.list(then, &value)?
                    } else {
                        self.list(otherwise, dot)?
                    };
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Node::Range { pipe, body, otherwise } => {
                    let scope = self.variables.len();
                    let flow = self.range(pipe, body, otherwise, dot)?;
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        pipe: &'t Pipe,
        body: &'t [Node],
        otherwise: &'t [Node],
        dot: &Val<'v>,
    ) -> Result<Flow, Error> {
        let over = self.commands(pipe, dot)?;
        let scope = self.variables.len();
        let count = match over.json() {
            Value::Array(items) => u64::try_from(items.len()).unwrap_or(u64::MAX),
            Value::Object(map) => u64::try_from(map.len()).unwrap_or(u64::MAX),
            Value::Null => 0,
            Value::Number(number) if !number.is_f64() && pipe.variables.len() > 1 => {
                let message = format!("can't use {number} to iterate over more than one variable");
                return Err(self.at_operand(&pipe.commands[0].operands[0], message));
            }
            Value::Number(number) if !number.is_f64() => number.as_u64().unwrap_or(0),
            other => {
                let message = format!("range can't iterate over {}", value::text(other));
                return Err(self.error(pipe.span, pipe.span.start, message));
            }
        };
        if count == 0 {
            return self.list(otherwise, dot);
        }
        let keys: Vec<String> = value::sorted_keys(over.json()).into_iter().map(str::to_owned).collect();
        for pass in 0..count {
            self.passes += 1;
            if self.passes > MAX_PASSES {
                let message = format!("more than {MAX_PASSES} passes of loops");
                return Err(self.error(pipe.span, pipe.span.start, message));
            }
            let index = usize::try_from(pass).unwrap_or(usize::MAX);
            let (key, element) = match keys.get(index) {
                Some(key) => (Value::String(key.clone()), over.part(|json| json.get(key.as_str()))),
                None if over.json().is_array() => (Value::from(pass), over.part(|json| json.get(index))),
                None => (Value::from(pass), Some(Cow::Owned(Value::from(pass)))),
            };
            let element = Val { json: element.unwrap_or(Cow::Owned(Value::Null)), shape: Shape::Any };
            match pipe.variables.as_slice() {
                [one] => self.bind(pipe, one, element.clone())?,
                [first, second] => {
                    self.bind(pipe, first, Val::owned(key))?;
                    self.bind(pipe, second, element.clone())?;
                }
                _ => {}
            }
            let flow = self.list(body, &element)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Declares a variable or, for `=`, gives a new value to one that is there.
    fn bind(&mut self, pipe: &Pipe, name: &str, value: Val<'v>) -> Result<(), Error> {
        if !pipe.assign {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => Err(self.error(pipe.span, pipe.span.start, format!("undefined variable: {name}"))),
        }
    }

    fn pipeline(&mut self, pipe: &'t Pipe, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.bind(pipe, name, value.clone())?;
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &'t Pipe, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(match value {
            Some(value) => value,
            None => Val::null(),
        })
    }

    fn command(
        &mut self,
        command: &'t Command,
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let first = &command.operands[0];
        let rest = &command.operands[1..];
        match &first.kind {
            OperandKind::Function(function) => {
                return self.call(*function, first, Some(command), rest, dot, piped);
            }
            OperandKind::Fields(names) => {
                let from = dot.clone();
                return self.fields(from, names, first, rest, dot, piped);
            }
            OperandKind::Variable(name, names) if !names.is_empty() => {
                let from = self.variable(name, first)?;
                return self.fields(from, names, first, rest, dot, piped);
            }
            OperandKind::Pipe(inner, names) if !names.is_empty() => {
                let from = self.pipeline(inner, dot)?;
                return self.fields(from, names, first, rest, dot, piped);
            }
            OperandKind::FunctionFields(function, names) => {
                let from = self.call(*function, first, None, &[], dot, None)?;
                return self.fields(from, names, first, rest, dot, piped);
            }
            _ => {}
        }
        if !rest.is_empty() || piped.is_some() {
            let source = self.text.get(first.span.start..first.span.end).unwrap_or("");
            let message = format!("can't give argument to non-function {source}");
            return Err(self.at_operand(first, message));
        }
        if matches!(first.kind, OperandKind::Nil) {
            return Err(self.at_operand(first, "nil is not a command"));
        }
        self.argument(first, dot)
    }

    /// The value of an operand that stands as an argument.
    fn argument(&mut self, operand: &'t Operand, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Val::null()),
            OperandKind::Literal(value) => Ok(Val::owned(value.clone())),
            OperandKind::Function(function) => self.call(*function, operand, None, &[], dot, None),
            OperandKind::FunctionFields(function, names) => {
                let from = self.call(*function, operand, None, &[], dot, None)?;
                self.fields(from, names, operand, &[], dot, None)
            }
            OperandKind::Fields(names) => self.fields(dot.clone(), names, operand, &[], dot, None),
            OperandKind::Variable(name, names) => {
                let from = self.variable(name, operand)?;
                self.fields(from, names, operand, &[], dot, None)
            }
            OperandKind::Pipe(pipe, names) => {
                let from = self.pipeline(pipe, dot)?;
                self.fields(from, names, operand, &[], dot, None)
            }
        }
    }

    fn variable(&self, name: &str, operand: &Operand) -> Result<Val<'v>, Error> {
        self.variables
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .ok_or_else(|| self.at_operand(operand, format!("undefined variable: {name}")))
    }

    /// A chain of fields; only the last may have arguments.
    fn fields(
        &mut self,
        mut value: Val<'v>,
        names: &[String],
        operand: &'t Operand,
        rest: &'t [Operand],
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let mut piped = piped;
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            let rest = if last { rest } else { &[] };
            let piped = if last { piped.take() } else { None };
            value = self.field(value, name, operand, rest, dot, piped)?;
        }
        Ok(value)
    }

    fn field(
        &mut self,
        value: Val<'v>,
        name: &str,
        operand: &'t Operand,
        rest: &'t [Operand],
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        if value.json().is_object()
            && let Some((_, method)) = self.options.methods.iter().find(|(n, _)| *n == name)
        {
            let method = *method;
            let mut args = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                args.push(self.argument(operand, dot)?.json().clone());
            }
            args.extend(piped.map(|piped| piped.json().clone()));
            return method(value.json(), &args)
                .map(Val::owned)
                .map_err(|message| self.at_operand(operand, message));
        }
        let given = rest.len() + usize::from(piped.is_some());
        let is_map = matches!(value.shape, Shape::Map | Shape::TextMap);
        match value.json() {
            Value::Object(map) => {
                let alias = self.options.aliases.iter().find(|(alias, _)| *alias == name);
                let name = match alias {
                    Some((_, key)) if !is_map && !map.contains_key(name) => key,
                    _ => name,
                };
                let known = map.contains_key(name);
                if given > 0 {
                    let message = match self.options.missing {
                        Missing::Field(_) => {
                            format!("wrong number of args for {name}: want 0 got {given}")
                        }
                        Missing::Key => format!("{name} is not a method but has arguments"),
                    };
                    return Err(self.at_operand(operand, message));
                }
                if known {
                    let json = value.part(|json| json.get(name));
                    return Ok(Val {
                        json: json.unwrap_or(Cow::Owned(Value::Null)),
                        shape: if is_map { Shape::Any } else { (self.options.schema)(name) },
                    });
                }
                if is_map {
                    return Ok(Val::null());
                }
                let shape = (self.options.schema)(name);
                if shape != Shape::Any {
                    return Ok(absent(shape));
                }
                let message = match self.options.missing {
                    Missing::Field(type_name) if std::ptr::eq(value.json(), self.root) => {
                        let mut fields = value::sorted_keys(value.json());
                        fields.dedup();
                        format!(
                            "can't evaluate field {name} in type {type_name} (it has {})",
                            fields.join(", ")
                        )
                    }
                    Missing::Field(_) => {
                        format!("can't evaluate field {name} in type struct")
                    }
                    Missing::Key => format!("map has no entry for key {name:?}"),
                };
                Err(self.at_operand(operand, message))
            }
            Value::Null if is_map => Ok(Val::null()),
            Value::Null => {
                Err(self.at_operand(operand, format!("nil pointer evaluating interface {{}}.{name}")))
            }
            other => {
                let type_name = value::type_name(other);
                let message = format!("can't evaluate field {name} in type {type_name}");
                Err(self.at_operand(operand, message))
            }
        }
    }

    fn call(
        &mut self,
        function: Function,
        operand: &'t Operand,
        command: Option<&'t Command>,
        rest: &'t [Operand],
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let given = rest.len() + usize::from(piped.is_some());
        let wrong = match function.arity() {
            Arity::Exactly(want) if want != given => Some(format!("want {want}")),
            Arity::AtLeast(want) if given < want => Some(format!("want at least {want}")),
            _ => None,
        };
        if let Some(want) = wrong {
            let name = function.name();
            let message = format!("wrong number of args for {name}: {want} got {given}");
            return Err(self.at_operand(operand, message));
        }
        if matches!(function, Function::And | Function::Or) {
            return self.short_circuit(function, rest, dot, piped);
        }
        let mut args = Vec::with_capacity(given);
        for operand in rest {
            args.push(Argument { value: self.argument(operand, dot)?, operand: Some(operand) });
        }
        args.extend(piped.map(|value| Argument { value, operand: None }));
        let result = if function == Function::Index {
            index(&args)
        } else {
            let header = self.options.header.then(|| functions::call_for_header(function, &args));
            header
                .flatten()
                .unwrap_or_else(|| functions::call(function, &args, self.options.escape_objects))
                .and_then(|value| match value.as_str().map(str::len) {
                    Some(length) if length > MAX_STRING && function != Function::Json => {
                        Err(Failure::Call(format!("result of {length} bytes is too long")))
                    }
                    _ => Ok(Val::owned(value)),
                })
        };
        result.map_err(|failure| match failure {
            Failure::Argument(index, message) => match args.get(index).and_then(|a| a.operand) {
                Some(argument) => self.at_operand(argument, message),
                None => self.at_operand(operand, message),
            },
            Failure::Call(message) => {
                let span = command.map_or(operand.span, |command| command.span);
                let message = format!("error calling {}: {message}", function.name());
                self.error(span, span.start, message)
            }
        })
    }

    /// `and` and `or`: the first argument that decides, the others are never evaluated.
    fn short_circuit(
        &mut self,
        function: Function,
        rest: &'t [Operand],
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let decisive = function == Function::Or;
        let mut value = Val::null();
        for operand in rest {
            value = self.argument(operand, dot)?;
            if value::truth(value.json()) == decisive {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }
}

/// `index x 1 "key"`: `x[1]["key"]`.
fn index<'v>(args: &[Argument<'_, 'v>]) -> Result<Val<'v>, Failure> {
    let mut item = args[0].value.clone();
    for arg in &args[1..] {
        let by = arg.value.json();
        let found = match item.json() {
            Value::Array(items) => {
                let at = functions::index_of(by, items.len(), false)?;
                item.part(|json| json.get(at))
            }
            Value::String(text) => {
                let at = functions::index_of(by, text.len(), false)?;
                Some(Cow::Owned(Value::from(text.as_bytes()[at])))
            }
            Value::Object(_) | Value::Null if item.json().is_object() || item.is_empty_container() => {
                if item.shape == Shape::List {
                    return Err(Failure::Call(format!("index out of range: {by}")));
                }
                let Value::String(key) = by else {
                    let message = match by {
                        Value::Null => "value is nil; should be of type string".to_owned(),
                        other => format!("value has type {}; should be string", value::type_name(other)),
                    };
                    return Err(Failure::Call(message));
                };
                let empty = (item.shape == Shape::TextMap).then(|| Cow::Owned(Value::String(String::new())));
                item.part(|json| json.get(key.as_str())).or(empty)
            }
            Value::Null => return Err(Failure::Call("index of untyped nil".to_owned())),
            other => {
                let type_name = value::type_name(other);
                return Err(Failure::Call(format!("can't index item of type {type_name}")));
            }
        };
        item = Val { json: found.unwrap_or(Cow::Owned(Value::Null)), shape: Shape::Any };
    }
    Ok(item)
}
