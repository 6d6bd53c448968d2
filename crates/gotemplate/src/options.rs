//! What a rendering depends on besides the template and its value: what a Go program would know from its types, and
//! how missing fields are refused.

use serde_json::Value;

/// What a Go program would know of a field from its type. It decides what null or an absent key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Nothing known: null prints `<no value>`, an absent key is an error.
    #[default]
    Any,
    /// A list: null is an empty one.
    List,
    /// A map of anything: null is an empty one, an absent key of it null.
    Map,
    /// A map to strings: null is an empty one, an absent key of it the empty string where indexed.
    TextMap,
    /// A string: null is the empty one.
    Text,
    /// An integer: null is 0.
    Number,
    /// A boolean: null is false.
    Bool,
    /// A struct that may be missing: null prints `<nil>`.
    Pointer,
}

/// Shapes by field name, wherever in the value the name stands.
pub type Schema = fn(&str) -> Shape;

/// How a missing field of an object is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing<'a> {
    /// `can't evaluate field X in type T`, as for the rows of a list.
    Field(&'a str),
    /// `map has no entry for key "X"`, as Docker's `inspect` says.
    Key,
}

/// A field that takes arguments (`{{.Label "x"}}`): its name, and the function of the object and the arguments.
pub type Method<'a> = (&'a str, fn(&Value, &[Value]) -> Result<Value, String>);

/// What a rendering depends on besides the template and its value.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// How missing fields are refused.
    pub missing: Missing<'a>,
    /// What is known of fields.
    pub schema: Schema,
    /// Other names of fields (`ID` for the key `Id`), taken where there is no key of that name.
    pub aliases: &'a [(&'a str, &'a str)],
    /// Fields that take arguments.
    pub methods: &'a [Method<'a>],
    /// The value is a table's header: functions that change text leave it alone.
    pub header: bool,
    /// `json` of an object escapes `<`, `>` and `&`, as for the rows of Docker's lists.
    pub escape_objects: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            missing: Missing::Key,
            schema: |_| Shape::Any,
            aliases: &[],
            methods: &[],
            header: false,
            escape_objects: false,
        }
    }
}
