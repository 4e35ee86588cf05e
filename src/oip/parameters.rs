//! Parameters of requests, outputs and inputs: what they ask for, and what cannot be had.

use std::fmt;
use std::time::Duration;

use ekiden_actors::{CallError, CallOptions, Priority};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::codec::json::excerpt;

/// The longest timeout that is told apart from a longer one: 49 days.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);

/// The value of a parameter, from JSON or protobuf.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// A text.
    Text(String),
    /// Anything else, which no parameter that is known here takes.
    Other,
}

/// As JSON has it. Arrays and objects are passed over, and take no memory.
impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyParameter)
    }
}

struct AnyParameter;

impl<'de> Visitor<'de> for AnyParameter {
    type Value = Parameter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parameter, E> {
        Ok(Parameter::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parameter, E> {
        Ok(Parameter::Whole(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parameter, E> {
        Ok(Parameter::Whole(value.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Parameter, E> {
        Ok(Parameter::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parameter, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameter, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }
}

impl Parameter {
    fn found(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Text(_) => "a text".to_owned(),
            Self::Other => "something else".to_owned(),
        }
    }

    /// A number that is not negative.
    ///
    /// # Errors
    /// What parameter `name` was expected to be, and what came.
    pub(super) fn count(&self, name: &str) -> Result<u64, CallError> {
        match self {
            Self::Whole(value) => u64::try_from(*value).ok(),
            _ => None,
        }
        .ok_or_else(|| {
            let found = self.found();
            CallError::invalid_input(format!("parameter \"{name}\": expected a whole number from 0 on, found {found}"))
        })
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, CallError> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => {
                let found = other.found();
                Err(CallError::invalid_input(format!("parameter \"{name}\": expected true or false, found {found}")))
            }
        }
    }
}

/// What a request asks for beside its inputs and outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// 0 is the model's own, which is normal, 1 the highest.
    pub priority: u64,
    /// In microseconds; 0 is the model's own.
    pub timeout: u64,
    /// Whether outputs that do not say otherwise are returned as binary data, where that is asked at all.
    pub binary_data_output: bool,
}

impl Parameters {
    /// Takes a parameter over. One that is not known asks for nothing that could be missed, and is ignored.
    ///
    /// # Errors
    /// [`CallError::InvalidInput`] for a value that makes no sense, and for sequences: requests that belong together would be
    /// answered as if they did not.
    pub fn set(&mut self, name: &str, value: &Parameter) -> Result<(), CallError> {
        match name {
            "priority" => self.priority = value.count(name)?,
            "timeout" => self.timeout = value.count(name)?,
            "binary_data_output" => self.binary_data_output = value.flag(name)?,
            "sequence_id" if !matches!(value, Parameter::Whole(0)) && *value != Parameter::Text(String::new()) => {
                return Err(CallError::invalid_input("parameter \"sequence_id\": sequences are not supported"));
            }
            _ => {}
        }
        Ok(())
    }

    /// What they ask of a call: priority 1 goes before others, 3 and more after them.
    pub fn options(&self) -> CallOptions {
        let priority = match self.priority {
            1 => Priority::High,
            0 | 2 => Priority::Normal,
            _ => Priority::Low,
        };
        let timeout = (self.timeout > 0).then(|| Duration::from_micros(self.timeout).min(LONGEST));
        CallOptions { timeout, priority }
    }
}

/// Refuses what an input or an output may be asked for by a parameter and cannot have.
///
/// # Errors
/// [`CallError::InvalidInput`] for shared memory.
pub(super) fn refuse_shared_memory(what: &str, tensor: &str, name: &str) -> Result<(), CallError> {
    if name.starts_with("shared_memory") {
        let (tensor, name) = (excerpt(tensor.as_bytes()), excerpt(name.as_bytes()));
        return Err(CallError::invalid_input(format!(
            "{what} \"{tensor}\": parameter \"{name}\": shared memory is not supported; send the data, in JSON or binary"
        )));
    }
    Ok(())
}
