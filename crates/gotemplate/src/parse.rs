//! Tokens to a syntax tree: Go's grammar without `define`, `template` and `block`.

use crate::ast::{Command, Node, Operand, OperandKind, Pipe, Span};
use crate::error::Error;
use crate::functions::Function;
use crate::lex::{self, Token};
use serde_json::{Number, Value};

/// How deep blocks and parentheses may nest; also bounds the executor's recursion.
const MAX_DEPTH: usize = 100;

pub(crate) struct Parsed {
    pub nodes: Vec<Node>,
    /// Names of all fields used.
    pub fields: Vec<String>,
}

pub(crate) fn parse(text: &str) -> Result<Parsed, Error> {
    // A lexical error is only told once the parser gets there: what stands before it may be wrong already.
    let (tokens, failure) = lex::tokens(text);
    let mut parser = Parser {
        text,
        tokens,
        failure,
        at: 0,
        variables: vec!["$".to_owned()],
        fields: Vec::new(),
        depth: 0,
        loops: 0,
    };
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::Eof => Ok(Parsed { nodes, fields: parser.fields }),
        Stop::End(at) => Err(parser.error(at, "unexpected {{end}}")),
        Stop::Else(at) => Err(parser.error(at, "unexpected {{else}}")),
    }
}

/// What ended a list of nodes, and where it stands. After `Else` the parser is behind the word `else`.
enum Stop {
    Eof,
    End(usize),
    Else(usize),
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Span)>,
    failure: Option<Error>,
    at: usize,
    variables: Vec<String>,
    fields: Vec<String>,
    depth: usize,
    loops: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    If,
    With,
    Range,
}

impl Block {
    fn word(self) -> &'static str {
        match self {
            Block::If => "if",
            Block::With => "with",
            Block::Range => "range",
        }
    }
}

impl Parser<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::parse(self.text, at, message)
    }

    /// The next token; past the end of the tokens, the lexer's error.
    fn peek(&self) -> Result<&Token, Error> {
        match (self.tokens.get(self.at), &self.failure) {
            (Some((token, _)), _) => Ok(token),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Ok(&Token::End),
        }
    }

    fn span(&self) -> Span {
        self.tokens
            .get(self.at)
            .map_or(Span { start: self.text.len(), end: self.text.len() }, |(_, span)| *span)
    }

    fn next(&mut self) -> Result<(Token, Span), Error> {
        let token = self.peek()?.clone();
        let span = self.span();
        self.at += 1;
        Ok((token, span))
    }

    fn skip_space(&mut self) -> Result<(), Error> {
        if *self.peek()? == Token::Space {
            self.at += 1;
        }
        Ok(())
    }

    fn unexpected(&self, token: &Token, span: Span, context: &str) -> Error {
        let source = self.text.get(span.start..span.end).unwrap_or("");
        let shown = match token {
            Token::End => "unexpected EOF".to_owned(),
            Token::Identifier(word) if is_keyword(word) => format!("unexpected <{word}>"),
            _ => format!("unexpected {source:?}"),
        };
        if *token == Token::End {
            self.error(span.start, shown)
        } else {
            self.error(span.start, format!("{shown} in {context}"))
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// Nodes up to the end, an `end` or an `else`.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Error> {
        let mut nodes = Vec::new();
        loop {
            let (token, span) = self.next()?;
            match token {
                Token::Text(text) => nodes.push(Node::Text(text)),
                Token::End => return Ok((nodes, Stop::Eof)),
                _ => {
                    self.skip_space()?;
                    let keyword = match self.peek()? {
                        Token::Identifier(word) if is_keyword(word) => Some(word.clone()),
                        _ => None,
                    };
                    let Some(keyword) = keyword else {
                        nodes.push(Node::Action(self.pipeline("command", &Token::Close)?));
                        continue;
                    };
                    let at = self.span().start;
                    self.at += 1;
                    match keyword.as_str() {
                        "end" => {
                            self.close("end")?;
                            return Ok((nodes, Stop::End(at)));
                        }
                        "else" => return Ok((nodes, Stop::Else(at))),
                        "if" => nodes.push(self.block(Block::If, at)?),
                        "with" => nodes.push(self.block(Block::With, at)?),
                        "range" => nodes.push(self.block(Block::Range, at)?),
                        "break" | "continue" => {
                            self.close(&keyword)?;
                            if self.loops == 0 {
                                return Err(
                                    self.error(at, format!("{{{{{keyword}}}}} outside {{{{range}}}}"))
                                );
                            }
                            nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                        }
                        other => {
                            return Err(self.error(
                                span.start,
                                format!("{{{{{other}}}}} is not supported: write the text in place"),
                            ));
                        }
                    }
                }
            }
        }
    }

    fn close(&mut self, context: &str) -> Result<(), Error> {
        self.skip_space()?;
        match self.next()? {
            (Token::Close, _) => Ok(()),
            (token, span) => Err(self.unexpected(&token, span, context)),
        }
    }

    /// An `if`, `with` or `range` from behind its word to behind its `{{end}}`.
    fn block(&mut self, block: Block, at: usize) -> Result<Node, Error> {
        self.deeper(at)?;
        let scope = self.variables.len();
        let pipe = self.pipeline(block.word(), &Token::Close)?;
        if block == Block::Range {
            self.loops += 1;
        }
        let (then, stop) = self.list()?;
        if block == Block::Range {
            self.loops -= 1;
        }
        let otherwise = match stop {
            Stop::Eof => return Err(self.error(self.text.len(), "unexpected EOF")),
            Stop::End(_) => Vec::new(),
            Stop::Else(at) => self.otherwise(block, at)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(match block {
            Block::If => Node::If { pipe, then, otherwise },
            Block::With => Node::With { pipe, then, otherwise },
            Block::Range => Node::Range { pipe, body: then, otherwise },
        })
    }

    /// From behind `else`: `else if` and `else with` continue the same chain and share its `end`.
    fn otherwise(&mut self, block: Block, at: usize) -> Result<Vec<Node>, Error> {
        self.skip_space()?;
        let chained = match (block, self.peek()?) {
            (Block::If, Token::Identifier(word)) if word == "if" => Some(Block::If),
            (Block::With, Token::Identifier(word)) if word == "with" => Some(Block::With),
            _ => None,
        };
        if let Some(block) = chained {
            self.at += 1;
            return Ok(vec![self.block(block, at)?]);
        }
        self.close("else")?;
        match self.list()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(at)) => Err(self.error(at, "expected end; found {{else}}")),
            (_, Stop::Eof) => Err(self.error(self.text.len(), "unexpected EOF")),
        }
    }

    /// A pipeline up to and with `end`.
    fn pipeline(&mut self, context: &str, end: &Token) -> Result<Pipe, Error> {
        self.skip_space()?;
        let start = self.span().start;
        self.deeper(start)?;
        let (variables, assign) = self.declarations(context)?;
        let mut commands = Vec::new();
        let stop = loop {
            self.skip_space()?;
            let (token, span) = (self.peek()?.clone(), self.span());
            if token == *end {
                self.at += 1;
                break span;
            }
            match token {
                Token::Identifier(word) if is_keyword(&word) => {
                    return Err(self.unexpected(&Token::Identifier(word), span, context));
                }
                Token::Identifier(_)
                | Token::Field(_)
                | Token::Variable(_)
                | Token::Dot
                | Token::Number(_)
                | Token::Str(_)
                | Token::Char(_)
                | Token::LeftParen => commands.push(self.command()?),
                token => return Err(self.unexpected(&token, span, context)),
            }
        };
        if commands.is_empty() {
            return Err(self.error(start, format!("missing value for {context}")));
        }
        for (stage, command) in commands.iter().enumerate().skip(1) {
            if let OperandKind::Dot | OperandKind::Nil | OperandKind::Literal(_) = command.operands[0].kind {
                return Err(self.error(
                    command.span.start,
                    format!("non executable command in pipeline stage {}", stage + 1),
                ));
            }
        }
        self.depth -= 1;
        Ok(Pipe { variables, assign, commands, span: Span { start, end: stop.start } })
    }

    /// `$x :=`, `$x =`, and for ranges `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let mut names = Vec::new();
        loop {
            let before = self.at;
            let Token::Variable(name) = self.peek()?.clone() else {
                if names.is_empty() {
                    return Ok((names, false));
                }
                return Err(self.error(self.span().start, "range can only initialize variables"));
            };
            self.at += 1;
            self.skip_space()?;
            match self.peek()? {
                Token::Declare | Token::Assign => {
                    let assign = *self.peek()? == Token::Assign;
                    self.at += 1;
                    names.push(name.clone());
                    self.variables.push(name);
                    return Ok((names, assign));
                }
                Token::Comma => {
                    let at = self.span().start;
                    self.at += 1;
                    names.push(name.clone());
                    self.variables.push(name);
                    if context != "range" || names.len() > 1 {
                        return Err(self.error(at, format!("too many declarations in {context}")));
                    }
                    self.skip_space()?;
                }
                _ => {
                    // Not a declaration: a variable that the pipeline begins with.
                    self.at = before;
                    if !names.is_empty() {
                        return Err(self.error(self.span().start, "range can only initialize variables"));
                    }
                    return Ok((names, false));
                }
            }
        }
    }

    fn command(&mut self) -> Result<Command, Error> {
        let start = self.span().start;
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            self.skip_space()?;
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let (token, span) = (self.peek()?.clone(), self.span());
            match token {
                Token::Space => continue,
                Token::Close | Token::RightParen => break,
                Token::Pipe => {
                    self.at += 1;
                    break;
                }
                token => return Err(self.unexpected(&token, span, "operand")),
            }
        }
        let Some(last) = operands.last() else {
            return Err(self.error(start, "empty command"));
        };
        let end = last.span.end;
        Ok(Command { operands, span: Span { start, end } })
    }

    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let (token, mut span) = (self.peek()?.clone(), self.span());
        let mut at = span.start;
        let mut kind = match token {
            Token::Identifier(word) => match word.as_str() {
                "true" | "false" => OperandKind::Literal(Value::Bool(word == "true")),
                "nil" => OperandKind::Nil,
                _ if is_keyword(&word) => return Ok(None),
                _ => match Function::named(&word) {
                    Some(function) => OperandKind::Function(function),
                    None => {
                        return Err(self.error(span.start, format!("function {word:?} not defined")));
                    }
                },
            },
            Token::Dot => OperandKind::Dot,
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.error(span.start, format!("undefined variable {name:?}")));
                }
                OperandKind::Variable(name, Vec::new())
            }
            Token::Field(name) => {
                self.fields.push(name.clone());
                OperandKind::Fields(vec![name])
            }
            Token::Number(source) => match number(&source) {
                Some(value) => OperandKind::Literal(value),
                None => {
                    let digits = source.bytes().all(|byte| byte.is_ascii_digit());
                    let what = if digits { "integer overflow" } else { "bad number syntax" };
                    return Err(self.error(span.start, format!("{what}: {source:?}")));
                }
            },
            Token::Char(code) => OperandKind::Literal(Value::from(code)),
            Token::Str(content) => OperandKind::Literal(Value::String(content)),
            Token::LeftParen => {
                self.at += 1;
                let pipe = self.pipeline("parenthesized pipeline", &Token::RightParen)?;
                span.end = self.tokens[self.at - 1].1.end;
                self.at -= 1;
                OperandKind::Pipe(Box::new(pipe), Vec::new())
            }
            _ => return Ok(None),
        };
        self.at += 1;
        let mut chain = Vec::new();
        while let Token::Field(name) = self.peek()?.clone() {
            if chain.is_empty() {
                at = self.span().start;
            }
            span.end = self.span().end;
            self.fields.push(name.clone());
            chain.push(name);
            self.at += 1;
        }
        if !chain.is_empty() {
            match &mut kind {
                OperandKind::Fields(names)
                | OperandKind::Variable(_, names)
                | OperandKind::Pipe(_, names)
                | OperandKind::FunctionFields(_, names) => names.append(&mut chain),
                OperandKind::Function(function) => {
                    kind = OperandKind::FunctionFields(*function, chain);
                }
                OperandKind::Dot | OperandKind::Nil | OperandKind::Literal(_) => {
                    let term = &self.text[span.start..at];
                    return Err(self.error(at, format!("unexpected . after term {term:?}")));
                }
            }
        }
        Ok(Some(Operand { kind, span, at }))
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "if" | "else" | "end" | "range" | "with" | "break" | "continue" | "define" | "template" | "block"
    )
}

/// Go's number syntax: decimal, `0x`, `0o`, `0b`, leading-zero octal, underscores, floats.
fn number(source: &str) -> Option<Value> {
    let (negative, digits) = match source.as_bytes().first()? {
        b'-' => (true, &source[1..]),
        b'+' => (false, &source[1..]),
        _ => (false, source),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = |prefix: &str| lower.strip_prefix(prefix).map(str::to_owned);
    let (radix, body) = if let Some(rest) = prefixed("0x") {
        (16, rest)
    } else if let Some(rest) = prefixed("0o") {
        (8, rest)
    } else if let Some(rest) = prefixed("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) {
        (8, lower[1..].to_owned())
    } else {
        (10, lower)
    };
    if body.starts_with('_') && radix == 10 || body.ends_with('_') || body.contains("__") {
        return None;
    }
    let body = body.replace('_', "");
    if body.is_empty() || body.starts_with(['+', '-']) {
        return None;
    }
    if let Ok(value) = u64::from_str_radix(&body, radix) {
        return Some(if !negative {
            Value::from(value)
        } else if value == 0 {
            Value::from(0)
        } else {
            Value::from(0i64.checked_sub_unsigned(value)?)
        });
    }
    // A whole number that does not fit is an error, not a float.
    if radix != 10
        || body.bytes().all(|b| b.is_ascii_digit())
        || !body.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b))
    {
        return None;
    }
    let value: f64 = body.parse().ok()?;
    Number::from_f64(if negative { -value } else { value }).map(Value::Number)
}
