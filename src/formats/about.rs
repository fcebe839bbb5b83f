//! What a person should know about each format: the files that it consists of, what is read, and what a copy keeps. The
//! page `docs/FORMATS.md` is made of this and the registry.

use super::Format;

/// One format in words.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The format's stable name.
    pub name: &'static str,
    /// What may be named to open it.
    pub files: &'static str,
    pub read: &'static str,
    /// What an export is, and what stays as it was.
    pub written: &'static str,
}

const ALL: &[About] = &[
    About {
        name: "google-bert-folder",
        files: "a folder with `bert_config.json`, `albert_config.json` or `electra_config.json`, a checkpoint \
                (`.index`, `.data-…`) and `vocab.txt`; a `.meta` is not needed and not used",
        read: "the graph is built from the configuration over the checkpoint's own names: BERT, ALBERT, ELECTRA, with the \
               heads whose variables are there",
        written: "the same folder: the checkpoint with tuned variables replaced, all other tensors and files copied; to \
                  `NAME.ckpt`, the checkpoint alone; with a grafted head, its weights are further variables under their \
                  own names, and the whole graph is a frozen `model.pb` in the folder",
    },
    About {
        name: "hugging-face-folder",
        files: "a folder with `config.json` and `model.safetensors`, or its shards with `model.safetensors.index.json`; \
                also `model.safetensors` in such a folder",
        read: "the graph is built from the configuration over the arrays' own names, with the heads whose weights are \
               there; half precision is kept as stored and computed in float32",
        written: "the same folder: arrays under the same names, in the same order, types and shards; configuration, \
                  tokenizer and other small files copied; without a change, every file is identical; with a grafted \
                  head, its weights are further arrays under their own names (`head/kernel`), and the whole graph is a \
                  frozen `model.pb` in the folder",
    },
    About {
        name: "tensorflow-checkpoint",
        files: "`PREFIX.meta` with `PREFIX.index` and `PREFIX.data-…`; any of these, the prefix, the `checkpoint` state \
                file, or the folder; without a `.meta`, `graph.pbtxt` beside it; also TensorFlow's first format \
                (`PREFIX` itself is the table, or `PREFIX-00000-of-…`), which is read into memory",
        read: "variables become constants with their values, partitioned ones too; training leftovers are told apart; \
               checksums are compared when a value is read; written on a big-endian machine: refused",
        written: "the checkpoint: all tensors, tuned ones replaced, other tensors (an optimizer's among them) and the \
                  graph copied, with a `checkpoint` state file; one of the first format in today's, which TensorFlow \
                  restores alike",
    },
    About {
        name: "tensorflow-saved-model",
        files: "a folder with `saved_model.pb` or `saved_model.pbtxt` (versions 1 and 2), or a TF1-Hub module's folder; or \
                that file",
        read: "the sensible meta graph and signature, others by `--signature` (`inspect` lists the ways in); variables, \
               functions, assets",
        written: "the folder with the variables' bundle rewritten and everything else untouched; text as \
                  `saved_model.pb`; to `NAME.ckpt`, a checkpoint with the chosen meta graph as its `.meta`",
    },
    About {
        name: "onnx",
        files: "an `.onnx` file, with external data beside it",
        read: "all encodings of values; external files must lie in the model's folder (no absolute paths, no `..`, no \
               links out of it) and are mapped",
        written: "the same bytes with tuned values replaced, unknown fields included; external files copied; where the \
                  model would grow beyond 2 GB, tuned values go to a file beside it",
    },
    About {
        name: "tensorflow-graphdef",
        files: "a frozen graph (`.pb`)",
        read: "every node and attribute, with the function library; tensor bytes only when they are asked for",
        written: "the same bytes with tuned values replaced, unknown fields included; without a change, byte-identical",
    },
    About {
        name: "tensorflow-graphdef-text",
        files: "a graph as text (`.pbtxt`)",
        read: "as the binary form; unknown fields of the text are told and not kept",
        written: "text again for `.pbtxt`, the binary form for `.pb`",
    },
];

/// The words about a format.
pub fn of(format: &Format) -> Option<&'static About> {
    ALL.iter().find(|a| a.name == format.name)
}

/// What can be written from any format.
pub const ACROSS: &[(&str, &str)] = &[
    (
        "`.pb`, `.pbtxt`",
        "a frozen graph, from every TensorFlow source: variables become constants, leftovers of training and saving go; \
         from a folder without a graph, dropout goes as well unless `--dropout-nodes keep` asks for it",
    ),
    (
        "`.safetensors`, `.npz`",
        "weights alone, under their own names: the tuned ones of a run (all of them with `--all-weights`), or all of a \
         model",
    ),
];

/// What weights can be loaded from by name (`--weights`).
pub const NAMED_ARRAYS: &[(&str, &str)] = &[
    ("`.safetensors`", "mapped"),
    ("`.safetensors.index.json`", "its shards, mapped"),
    ("`.npz`", "read into memory; `float16`, `float32`, `float64` and integers"),
    ("a checkpoint (`PREFIX`, `.index`, `.data-…`)", "mapped; one of the first format is read into memory"),
    ("any model that can be opened", "its constants"),
];
