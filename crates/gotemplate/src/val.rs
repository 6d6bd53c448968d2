//! A value on its way through a pipeline: JSON, borrowed from the data where it can be, with the shape that a field's
//! name gave it.

use std::borrow::Cow;

use serde_json::Value;

use crate::options::Shape;
use crate::value;

/// A value on its way through a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Val<'v> {
    pub(crate) json: Cow<'v, Value>,
    pub(crate) shape: Shape,
}

impl<'v> Val<'v> {
    pub(crate) fn owned(json: Value) -> Val<'static> {
        Val { json: Cow::Owned(json), shape: Shape::Any }
    }

    pub(crate) fn null() -> Val<'static> {
        Val::owned(Value::Null)
    }

    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    pub(crate) fn is_text(&self) -> bool {
        self.shape == Shape::Text
    }

    pub(crate) fn is_empty_container(&self) -> bool {
        matches!(self.shape, Shape::List | Shape::Map | Shape::TextMap)
    }

    pub(crate) fn print(&self) -> Cow<'_, str> {
        match (self.json(), self.shape) {
            (Value::String(text), _) => Cow::Borrowed(text),
            (Value::Null, shape) => Cow::Borrowed(match shape {
                Shape::Any => "<no value>",
                Shape::List => "[]",
                Shape::Map | Shape::TextMap => "map[]",
                Shape::Text => "",
                Shape::Number => "0",
                Shape::Bool => "false",
                Shape::Pointer => "<nil>",
            }),
            (other, _) => Cow::Owned(value::text(other)),
        }
    }

    /// A part of this value: borrowed where this one is.
    pub(crate) fn part(
        &self,
        take: impl for<'a> Fn(&'a Value) -> Option<&'a Value>,
    ) -> Option<Cow<'v, Value>> {
        match &self.json {
            Cow::Borrowed(json) => take(json).map(Cow::Borrowed),
            Cow::Owned(json) => take(json).cloned().map(Cow::Owned),
        }
    }
}

/// What a field of that shape is in Go when nothing was set.
pub(crate) fn absent(shape: Shape) -> Val<'static> {
    Val {
        json: Cow::Owned(match shape {
            Shape::Text => Value::String(String::new()),
            Shape::Number => Value::from(0),
            Shape::Bool => Value::Bool(false),
            _ => Value::Null,
        }),
        shape,
    }
}
