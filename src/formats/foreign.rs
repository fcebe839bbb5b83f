//! Files of other kinds, told by their first bytes or name, with what to do about them: better than "unknown format".

use super::source::Source;

/// A kind of file that cannot be opened here.
struct Foreign {
    /// Bytes at an offset; empty where the name alone tells.
    offset: usize,
    magic: &'static [u8],
    /// Ending of the name, where the bytes alone do not tell.
    ending: &'static str,
    what: &'static str,
}

const fn kind(offset: usize, magic: &'static [u8], ending: &'static str, what: &'static str) -> Foreign {
    Foreign { offset, magic, ending, what }
}

const KINDS: &[Foreign] = &[
    kind(0, b"\x89HDF\r\n", "", "a Keras HDF5 file: export it as a frozen graph or to ONNX first"),
    kind(0, b"PK\x03\x04", "", "a zip archive (PyTorch .pt, Keras .keras, .npz): export the model to ONNX first"),
    kind(0, b"\x80\x02", "", "a Python pickle (PyTorch): export the model to ONNX first"),
    kind(4, b"TFL3", "", "a TensorFlow Lite file: use the frozen graph or ONNX file that it was made from"),
    kind(0, b"GGUF", "", "a GGUF file, which holds weights without a graph"),
    kind(8, b"{\"", ".safetensors", "a safetensors file, which holds weights without a graph"),
    kind(
        0,
        b"",
        "checkpoint",
        "a checkpoint's state file without \"model_checkpoint_path\": name the .index file itself",
    ),
    kind(0, b"", ".meta", "no meta graph that can be read: name the .index file of the same checkpoint"),
    kind(0, b"", ".index", "no index of a TensorFlow checkpoint, or it is cut off"),
    kind(0, b"", ".ckpt", "no checkpoint of TensorFlow, or it is cut off (PyTorch's are pickles: export to ONNX)"),
];

/// What the file is, if it is one of the known foreign kinds.
pub fn name(source: &Source) -> Option<&'static str> {
    let start = source.bytes.read(0, source.bytes.len().min(16)).ok()?;
    let file = source.name.to_lowercase();
    let fits =
        |k: &&Foreign| file.ends_with(k.ending) && start.get(k.offset..).is_some_and(|rest| rest.starts_with(k.magic));
    KINDS.iter().find(fits).map(|k| k.what)
}

/// Every kind: how it is told, and what it is.
pub fn kinds() -> impl Iterator<Item = (String, &'static str)> {
    KINDS.iter().map(|k| {
        let mark = match (k.ending, k.magic) {
            ("", magic) => format!("begins with `{}`", magic.escape_ascii().to_string().replace('`', "'")),
            (ending, []) => format!("`{ending}`"),
            (ending, magic) => format!("`{ending}` with `{}`", magic.escape_ascii().to_string().replace('`', "'")),
        };
        (mark, k.what)
    })
}
