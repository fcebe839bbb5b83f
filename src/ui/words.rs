//! What messages of the library say about options of the command line, in words of the window.

use std::sync::LazyLock;

use regex::Regex;

use super::text;

/// What is said there, and what it is called here.
const ROWS: &[(&str, &str)] = &[
    (r"name a loss with --loss or attach one with --attach-loss", "choose the loss in the Train menu"),
    (r"choose with --signature, or in the File menu of the window", "choose another in the File menu"),
    (r"with --map \S+", "under “What feeds what” in the Data panel"),
    (r"with --set-input \S+", "there to be always the same"),
    (r"--tokenizer \S+\b", "“Validation, split and tokenizer” in the Data panel"),
    (r"with --shape (\S+?)=\S+", "as “Shape” in the Inspector of $1"),
    (r"name a loss with --loss\b", "choose the loss in the Train menu"),
    (r"name some with --trainable, or see `regraft inspect --constants`", "choose some in the browser"),
    (r"(?:with |\()--trainable\b\)?", "in the Browser"),
    (r"go on with --resume|resume it \(--resume\)", "resume it in the Compare panel"),
    (r"go on from there with --resume", "resume it in the Compare panel"),
    (r"with --label\b( [A-Z]+\b)?", "as “Label column” in the Data panel"),
    (r"with --logits\b", "as the output that predictions come from"),
    (r"with --data\b", "as “Validation file” in the Data panel"),
    (r"--label\b( [A-Z]+\b)?", "“Label column” in the Data panel"),
    (r"--text [A-Z]+\b", "“Text column” in the Data panel"),
    (r"--data [A-Z]+\b", "“Pick data…” in the Train menu"),
    (r"(with )?--head [A-Z]+ --at [A-Z]+\b", "with “Graft a head…” in the Model menu"),
    (r"with --at [A-Z]+\b", "as “On value” of the head"),
    (r"(with )?--classes [A-Z]+\b", "as “Outputs” of the head"),
    (r"(with )?--set ([\w.]+)=(\S+)", "with the setting $2 = $3"),
    (r"--lower says otherwise", "see “Letters” under “Validation, split and tokenizer”"),
    (r"`regraft inspect --(constants|nodes)` lists them", "the browser lists them"),
    (r"`regraft check` shows what helps", "Gradients shows what helps"),
    (r"name the folder that `regraft train --out` wrote", "name the folder of a run"),
    (r" \(`regraft train --help` lists them\)", ""),
];

static RULES: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| ROWS.iter().filter_map(|(from, to)| Some((Regex::new(from).ok()?, *to))).collect());

/// A message with the window's words for options of the command line.
pub fn in_window(message: &str) -> String {
    let mut out = message.to_owned();
    if !message.contains("--") && !message.contains("`regraft ") {
        return out;
    }
    for (from, to) in RULES.iter() {
        out = from.replace_all(&out, *to).into_owned();
    }
    out
}

/// As [`in_window`], with a capital at its start unless it starts with a name that `is_name` knows.
pub fn sentence(message: &str, is_name: impl Fn(&str) -> bool) -> String {
    let message = in_window(message);
    let first = message.split(' ').next().unwrap_or_default();
    let is_word = first.len() < message.len() && first.chars().all(|c| c.is_ascii_lowercase());
    if is_word && !is_name(first) { text::capitalised(&message) } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_places_in_the_window() {
        let said = "nothing says what fills the placeholder x:0; map it with --map x:0=FEATURE (label), or pin it with \
                    --set-input x:0=VALUE";
        let here = sentence(said, |_| false);
        assert!(
            here.starts_with(
                "Nothing says what fills the placeholder x:0; map it under \u{201c}What feeds what\u{201d}"
            )
        );
        for said in [
            said,
            "labelled sequences need a tokenizer (--tokenizer vocab.txt)",
            "no data is chosen (--data FILE)",
            "name a loss with --loss or attach one with --attach-loss",
            "graft one with --head KIND --at VALUE",
            "'x' wants hidden words; --set data.mask_rate=0.15 hides some",
            "needs its number of outputs (--label COLUMN, or --classes N)",
            "the vocabulary looks cased, so texts are left as they are (--lower says otherwise)",
            "nothing trains: no constant is chosen; name some with --trainable, or see `regraft inspect --constants`",
            "the selector x matches no constant of this model; `regraft inspect --constants` lists them",
            "there is no node x; `regraft inspect --nodes` lists them",
            "kernel stays as it is: no rule; `regraft check` shows what helps",
            "it holds no recipe.json; name the folder that `regraft train --out` wrote",
            "there is no setting 'x' (`regraft train --help` lists them)",
            "graft a head for 3 classes, or name another label column with --label",
            "labels, but no label column is chosen (--label)",
            "says no size for pictures; pin it with --shape image=BATCHxHEIGHTxWIDTHxCHANNELS",
            "nothing is trainable: choose constants to train (--trainable)",
            "no constant is chosen; name some with --trainable, or see `regraft inspect --constants`",
            "there is no validation data; name some with --data",
            "this model has no float output; name a loss with --loss",
        ] {
            let here = in_window(said);
            assert!(!here.contains("--") && !here.contains("regraft"), "{here}");
        }
        assert_eq!(in_window("shape 2*3 -- as it stands"), "shape 2*3 -- as it stands");
        assert_eq!(sentence("logits has no gradient", |w| w == "logits"), "logits has no gradient");
    }
}
