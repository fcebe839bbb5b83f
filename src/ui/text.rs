//! Numbers, shapes, times and long names as people read them. No egui here: tests cover every number shown.

/// `109.5 M`, `1.2 k`, `768`: three or four digits at most.
pub fn count(n: usize) -> String {
    let n = n as f64;
    for (limit, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if n >= limit {
            let scale = if unit == "k" { 1e3 } else { limit };
            return format!("{} {unit}", short(n / scale));
        }
    }
    format!("{n}")
}

/// `418 MB`: decimal units, as file managers show them.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    for (limit, unit) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if n >= limit {
            return format!("{} {unit}", short(n / limit));
        }
    }
    format!("{n} B")
}

fn short(v: f64) -> String {
    if v >= 100.0 { format!("{v:.0}") } else { format!("{v:.1}") }
}

/// Every digit, in groups of three: `109 482 240`.
pub fn exact(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// A measured number with `digits` significant ones: `0.4271`, `3.2e-5`, `1.25e7`, `NaN`.
pub fn number(v: f64, digits: usize) -> String {
    if v == 0.0 || !v.is_finite() {
        return if v == 0.0 { "0".to_owned() } else { format!("{v}") };
    }
    let exponent = v.abs().log10().floor() as i32;
    if !(-3..6).contains(&exponent) {
        let text = format!("{v:.*e}", digits.saturating_sub(1));
        return match text.split_once('e') {
            Some((mantissa, e)) => format!("{}e{e}", trim_zeros(mantissa)),
            None => text,
        };
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim_zeros(&format!("{v:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `93.1 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// `0:07`, `4:12`, `1:02:03`.
pub fn duration(secs: f64) -> String {
    if !secs.is_finite() || secs < 0.0 {
        return "–".to_owned();
    }
    let s = secs.round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

/// `768×768`, `?×128`, `scalar`, `?` where not even the rank is known.
pub fn shape(dims: Option<&[Option<usize>]>) -> String {
    match dims {
        None => "?".to_owned(),
        Some([]) => "scalar".to_owned(),
        Some(dims) => {
            let one = |d: &Option<usize>| d.map_or_else(|| "?".to_owned(), |d| d.to_string());
            dims.iter().map(one).collect::<Vec<_>>().join("×")
        }
    }
}

/// What people call a format of that stable name.
pub fn format_label(name: &str) -> &str {
    crate::formats::ALL.iter().find(|f| f.name == name).map_or(name, |f| f.label)
}

/// With a capital at its start.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `1 node`, `3 nodes`.
pub fn plural(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", exact(n)) }
}

/// Elides a name in the middle of its path, keeping its first and last parts, so that it has at most `max` characters:
/// `bert/…/query/kernel`, `bert…query.weight`. The end is never cut unless the last part alone is too long; then its own middle goes.
pub fn elide_middle(name: &str, max: usize) -> String {
    if name.chars().count() <= max {
        return name.to_owned();
    }
    let (separator, gap) = if separator(name) == '/' { ("/", "/…/") } else { (".", "…") };
    let parts: Vec<&str> = name.split(separator).collect();
    let first = parts[0];
    for keep in (1..parts.len()).rev() {
        let tail = parts[parts.len() - keep..].join(separator);
        let with_first = format!("{first}{gap}{tail}");
        if keep + 1 < parts.len() && with_first.chars().count() <= max {
            return with_first;
        }
        let without = format!("{}{tail}", gap.trim_start_matches('/'));
        let room = max.saturating_sub(without.chars().count());
        if keep + 1 == parts.len() && room >= 4 && gap.starts_with('/') {
            // One part alone is in the way: both of its ends tell more than nothing.
            return format!("{}/{tail}", cut_middle(first, room + 1));
        }
        if without.chars().count() <= max {
            return without;
        }
    }
    let chars: Vec<char> = parts[parts.len() - 1].chars().collect();
    let room = max.saturating_sub(1);
    if chars.len() <= room {
        return format!("…{}", chars.into_iter().collect::<String>());
    }
    cut_middle(parts[parts.len() - 1], max)
}

/// What stands between the parts of a name: PyTorch's names are paths with dots.
pub fn separator(name: &str) -> char {
    if name.contains('/') { '/' } else { '.' }
}

/// Elides a path by what tells it from others: its last part stays, then the parts that the fewest names share, as many
/// as fit in `max` characters: `…/Conv1/…/resource`. `count` says how many names hold a part.
pub fn elide_common(name: &str, max: usize, count: impl Fn(&str) -> u32) -> String {
    let separator = separator(name);
    let parts: Vec<&str> = name.split(separator).collect();
    let joined = |kept: &[bool]| joined(&parts, kept, separator);
    let last = parts.len() - 1;
    if name.chars().count() <= max || last == 0 || parts[last].chars().count() + 2 > max {
        return elide_middle(name, max);
    }
    let mut order: Vec<usize> = (0..last).collect();
    // Of parts that are equally rare, the ones near the end say more.
    order.sort_by_key(|&i| (count(parts[i]), std::cmp::Reverse(i)));
    let rarest = order[0];
    let few = count(parts[rarest]).saturating_mul(2);
    let mut kept = vec![false; parts.len()];
    kept[last] = true;
    let length = |kept: &[bool]| joined(kept).chars().count();
    for &i in &order {
        if count(parts[i]) > few && kept.iter().filter(|k| **k).count() == 1 {
            // Nothing that tells it apart fits; without its middle, the rarest part still does.
            break;
        }
        kept[i] = true;
        kept[i] = length(&kept) <= max;
    }
    if kept.iter().filter(|k| **k).count() > 1 {
        return joined(&kept);
    }
    kept[rarest] = true;
    let room = parts[rarest].chars().count().saturating_sub(length(&kept).saturating_sub(max));
    if room < 5 {
        return elide_middle(name, max);
    }
    joined(&kept).replacen(parts[rarest], &cut_middle(parts[rarest], room), 1)
}

/// The kept parts of a path, with an ellipsis for each run of others.
fn joined(parts: &[&str], kept: &[bool], separator: char) -> String {
    let mut out: Vec<&str> = Vec::new();
    for (part, is_kept) in parts.iter().zip(kept) {
        match is_kept {
            true => out.push(part),
            false if out.last() != Some(&"…") => out.push("…"),
            false => {}
        }
    }
    let path = out.join(&separator.to_string());
    // Dots beside an ellipsis would look like one of four.
    if separator == '.' { path.replace("….", "…").replace(".…", "…") } else { path }
}

/// A word without its middle, in `max` characters; its end is worth more than its start.
fn cut_middle(word: &str, max: usize) -> String {
    let chars: Vec<char> = word.chars().collect();
    if chars.len() <= max {
        return word.to_owned();
    }
    let room = max.saturating_sub(1);
    let head = room / 3;
    let tail = room - head;
    format!("{}…{}", chars[..head].iter().collect::<String>(), chars[chars.len() - tail..].iter().collect::<String>())
}

/// The last part of a path-like name.
pub fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// How well `query` fuzzily matches `text`: every character in order, runs and word starts count more; `None` where it
/// does not match, or only by single letters strewn over the inside of words. Case does not matter.
pub fn fuzzy(query: &str, text: &str) -> Option<i32> {
    let mut strewn = 0;
    let mut score = 0;
    let mut run = 0;
    let mut previous = ' ';
    let mut wanted = query.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).peekable();
    for c in text.chars() {
        let Some(&w) = wanted.peek() else { break };
        if c.to_lowercase().eq(std::iter::once(w)) {
            wanted.next();
            run += 1;
            strewn += usize::from(run == 1 && previous.is_alphanumeric());
            score += run * 2 + if previous.is_alphanumeric() { 0 } else { 6 };
        } else {
            run = 0;
        }
        previous = c;
    }
    let is_there = |part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let is_match = wanted.peek().is_none() && (strewn <= MOST_STREWN || query.split_whitespace().all(is_there));
    is_match.then(|| score * 4 - text.chars().count() as i32)
}

/// So many runs of letters may begin inside a word.
const MOST_STREWN: usize = 1;

/// Lines of at most `most` characters, broken between words; a longer word has a line of its own.
pub fn wrapped(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let n = word.chars().count();
        if length > 0 {
            let fits = length + 1 + n <= most;
            out.push(if fits { ' ' } else { '\n' });
            length = if fits { length + 1 } else { 0 };
        }
        out.push_str(word);
        length += n;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), "one two\nthree");
        assert_eq!(wrapped("a/very/long/path b", 6), "a/very/long/path\nb");
        assert_eq!(wrapped("größer  als\nzehn", 10), "größer als\nzehn");
        assert_eq!(wrapped("", 5), "");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(768), "768");
        assert_eq!(count(9999), "9999");
        assert_eq!(count(23_400), "23.4 k");
        assert_eq!(count(109_482_240), "109 M");
        assert_eq!(count(66_955_010), "67.0 M");
        assert_eq!(bytes(418_000_000), "418 MB");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(exact(109_482_240), "109\u{202f}482\u{202f}240");
        assert_eq!(number(0.0, 4), "0");
        assert_eq!(number(3.2e-5, 3), "3.2e-5");
        assert_eq!(number(0.427_123, 4), "0.4271");
        assert_eq!(number(12_500_000.0, 3), "1.25e7");
        assert_eq!(number(-2.0, 3), "-2");
        assert_eq!(number(f64::NAN, 3), "NaN");
        assert_eq!(duration(252.2), "4:12");
        assert_eq!(duration(3723.0), "1:02:03");
        assert_eq!(percent(0.9312), "93.1 %");
    }

    #[test]
    fn shapes_and_names_read_well() {
        assert_eq!(shape(Some(&[Some(768), None])), "768×?");
        assert_eq!(shape(Some(&[])), "scalar");
        assert_eq!(shape(None), "?");
        let name = "bert/encoder/layer_0/attention/self/query/kernel";
        assert_eq!(elide_middle(name, 80), name);
        assert_eq!(elide_middle(name, 24), "bert/…/self/query/kernel");
        assert_eq!(elide_middle(name, 14), "…/query/kernel");
        assert_eq!(elide_middle(name, 8), "…/kernel");
        assert_eq!(elide_middle("averyveryverylongname", 10), "ave…ngname");
        assert_eq!(elide_middle("Embedding-Token/embeddings", 18), "Em…oken/embeddings");
        assert_eq!(elide_middle("Embedding-Segment/embeddings", 14), "…/embeddings");
        for max in 4..60 {
            assert!(elide_middle(name, max).chars().count() <= max.max(4), "{max}");
        }
    }

    #[test]
    fn names_are_told_apart_by_what_few_share() {
        let names = ["net/Conv1/Conv2D/ReadVariableOp/resource", "net/bn_Conv1/FusedBatch/ReadVariableOp/resource"];
        let count = |part: &str| names.iter().filter(|n| n.split('/').any(|p| p == part)).count() as u32;
        assert_eq!(elide_common(names[0], 18, count), "…/Conv1/…/resource");
        assert_eq!(elide_common(names[0], 26, count), "…/Conv1/Conv2D/…/resource");
        assert_eq!(elide_common(names[0], 80, count), names[0]);
        let long = "net/expanded_conv_depthwise/resource";
        assert_eq!(elide_common(long, 20, |p| if p == "net" { 9 } else { 1 }), "…/ex…thwise/resource");
        for max in 4..50 {
            assert!(elide_common(names[1], max, count).chars().count() <= max, "{max}");
        }
        // The same weight of two layers.
        let dotted = |part: &str| match part {
            "0" | "1" => 16,
            "query" => 4,
            _ => 40,
        };
        let of_layer = |i: usize| format!("encoder.layer.{i}.attention.self.query.weight");
        assert_eq!(elide_common(&of_layer(0), 20, dotted), "…0…self.query.weight");
        assert_eq!(elide_common(&of_layer(1), 20, dotted), "…1…self.query.weight");
        assert_eq!(elide_common("m.weight", 6, dotted), elide_middle("m.weight", 6));
    }

    #[test]
    fn fuzzy_prefers_word_starts() {
        assert!(fuzzy("tr su", "Train all suggested") > fuzzy("trsu", "Extra results shown up"));
        assert_eq!(fuzzy("zz", "Train"), None);
        assert_eq!(fuzzy("pause", "Prove the adjustments"), None, "letters by chance");
        assert!(fuzzy("trsug", "Train all suggested").is_some() && fuzzy("kernel", "a/b/my_kernel").is_some());
        assert!(fuzzy("", "anything").is_some());
    }
}
