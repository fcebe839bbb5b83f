//! Configuration files: JSON objects whose numbers and words are read with a default, and bounded.

use serde_json::Value;

use crate::formats::Source;

/// Configurations are small; a larger file is something else.
const MAX_CONFIG: u64 = 8 << 20;
/// No published model comes near; hostile numbers would build graphs without end.
const MAX_LAYERS: usize = 1024;
const MAX_SIZE: usize = 1 << 24;

/// One configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    json: Value,
}

impl Config {
    /// `None` where the bytes are no JSON object.
    pub fn of_source(source: &Source) -> Option<Self> {
        Self::of_bytes(&read_text(&source.bytes)?)
    }

    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(bytes).ok()?;
        json.is_object().then_some(Self { json })
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    pub fn float(&self, key: &str, default: f64) -> f64 {
        self.get(key).and_then(Value::as_f64).unwrap_or(default)
    }

    /// A probability of dropping; anything outside of [0, 1) counts as none.
    pub fn rate(&self, key: &str, default: f64) -> f64 {
        Some(self.float(key, default)).filter(|r| (0.0..1.0).contains(r)).unwrap_or(0.0)
    }

    /// A positive size; an error where it is missing or makes no sense.
    pub fn size(&self, key: &str) -> Result<usize, String> {
        let value = self.get(key).ok_or_else(|| format!("its configuration does not say {key}"))?;
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX_SIZE).contains(n));
        size.ok_or_else(|| format!("{key} is {value} in its configuration, which makes no sense"))
    }

    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, String> {
        if self.get(key).is_none() { Ok(default) } else { self.size(key) }
    }

    pub fn layers(&self, key: &str) -> Result<usize, String> {
        let n = self.size(key)?;
        if n > MAX_LAYERS { Err(format!("{key} is {n}; at most {MAX_LAYERS} layers are built")) } else { Ok(n) }
    }

    /// The first entry of `architectures`.
    pub fn architecture(&self) -> Option<&str> {
        self.get("architectures")?.as_array()?.first()?.as_str()
    }

    /// Class names by index (`id2label`); empty where they are missing or only `LABEL_0`, `LABEL_1`, ….
    pub fn labels(&self) -> Vec<String> {
        let Some(map) = self.get("id2label").and_then(Value::as_object) else { return Vec::new() };
        let name = |i: usize| map.get(&i.to_string())?.as_str().map(str::to_owned);
        let names: Vec<String> = (0..map.len()).map_while(name).collect();
        let says_something = names.iter().enumerate().any(|(i, n)| *n != format!("LABEL_{i}"));
        if names.len() == map.len() && says_something { names } else { Vec::new() }
    }
}

/// The bytes of a small file.
fn read_text(bytes: &crate::formats::source::Bytes) -> Option<Vec<u8>> {
    (bytes.len() <= MAX_CONFIG).then(|| bytes.read(0, bytes.len()).ok())?
}
