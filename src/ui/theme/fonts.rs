//! Inter for text, JetBrains Mono for names and numbers, Phosphor for icons, and what the system has for other scripts.

use std::path::PathBuf;
use std::sync::Arc;

use egui::{FontData, FontDefinitions, FontFamily};

use crate::base::files;

use super::strong_family;

const INTER: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.ttf");
const INTER_STRONG: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.ttf");
const MONO: &[u8] = include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf");
const ICONS: &[u8] = include_bytes!("../../../assets/fonts/Phosphor.ttf");

/// Starts of file names (lower case, without punctuation) of fonts with Chinese, Japanese and Korean glyphs, best first.
const CJK: &[&str] = &[
    "notosanscjk",
    "sourcehansans",
    "notosanssc",
    "notosansjp",
    "pingfang",
    "hiraginosansgb",
    "applesdgothicneo",
    "msyh",
    "yugothr",
    "meiryo",
    "malgun",
    "simsun",
    "wqymicrohei",
    "wqyzenhei",
    "droidsansfallback",
    "arialunicode",
    "unifont",
];

/// A font of more than this is not worth its memory.
const MAX_BYTES: u64 = 64 << 20;
/// Entries that a search looks at, so that an odd folder cannot keep it busy.
const MAX_ENTRIES: usize = 20_000;

/// Fonts of the program; egui's own faces stay behind them for symbols that ours lack.
pub fn definitions() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    for (name, bytes) in [("inter", INTER), ("inter-strong", INTER_STRONG), ("mono", MONO), ("icons", ICONS)] {
        let mut data = FontData::from_static(bytes);
        if name == "icons" {
            // Phosphor's glyphs sit high in their em box.
            data.tweak.y_offset_factor = 0.1;
        }
        fonts.font_data.insert(name.to_owned(), Arc::new(data));
    }
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let chain = |first: &str| {
        let mut names = vec![first.to_owned(), "icons".to_owned()];
        if first != "inter" {
            names.push("inter".to_owned());
        }
        names.extend(fallback.iter().cloned());
        names
    };
    fonts.families.insert(FontFamily::Proportional, chain("inter"));
    fonts.families.insert(strong_family(), chain("inter-strong"));
    fonts.families.insert(FontFamily::Monospace, chain("mono"));
    fonts
}

/// Adds a system font for Chinese, Japanese and Korean behind ours, where one is found. Reads files: not for tests,
/// whose pictures must not depend on the machine.
pub fn with_system_fallback(mut fonts: FontDefinitions) -> FontDefinitions {
    let best = find(&folders(|name| std::env::var_os(name).map(PathBuf::from)), CJK);
    if let Some(bytes) = best.and_then(|p| files::read(&p).ok()) {
        fonts.font_data.insert("system-cjk".to_owned(), Arc::new(FontData::from_owned(bytes)));
        for names in fonts.families.values_mut() {
            names.push("system-cjk".to_owned());
        }
    }
    fonts
}

/// Where this system keeps fonts, the user's own first. `variable` reads the environment.
fn folders(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let mut out: Vec<PathBuf> = Vec::new();
    if cfg!(windows) {
        out.extend(variable("LOCALAPPDATA").map(|d| d.join("Microsoft").join("Windows").join("Fonts")));
        out.push(variable("WINDIR").unwrap_or_else(|| PathBuf::from("C:\\Windows")).join("Fonts"));
    } else if cfg!(target_os = "macos") {
        out.extend(home.map(|h| h.join("Library/Fonts")));
        out.extend(["/Library/Fonts", "/System/Library/Fonts"].map(PathBuf::from));
    } else {
        // The XDG base directories, with their defaults.
        let data = variable("XDG_DATA_HOME").or_else(|| home.as_ref().map(|h| h.join(".local/share")));
        out.extend(data.map(|d| d.join("fonts")));
        out.extend(home.map(|h| h.join(".fonts")));
        match variable("XDG_DATA_DIRS") {
            Some(dirs) => out.extend(std::env::split_paths(&dirs).map(|d| d.join("fonts"))),
            None => out.extend(["/usr/local/share/fonts", "/usr/share/fonts"].map(PathBuf::from)),
        }
    }
    out
}

/// The file whose name fits the earliest of `wanted`, anywhere in the folders.
fn find(folders: &[PathBuf], wanted: &[&str]) -> Option<PathBuf> {
    let mut todo: Vec<(PathBuf, usize)> = folders.iter().map(|f| (f.clone(), 0)).collect();
    let mut best: Option<(usize, PathBuf)> = None;
    let mut looked_at = 0;
    while let Some((folder, depth)) = todo.pop() {
        for path in files::list(&folder).unwrap_or_default() {
            looked_at += 1;
            if looked_at > MAX_ENTRIES {
                return best.map(|b| b.1);
            }
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            if !matches!(extension.as_deref(), Some("ttf" | "ttc" | "otf" | "otc")) {
                if depth < 4 && files::is_dir(&path) {
                    todo.push((path, depth + 1));
                }
                continue;
            }
            let name: String = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().to_lowercase());
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            // The regular weight reads best in small sizes.
            let is_odd = ["bold", "black", "light", "thin", "medium", "italic"].iter().any(|w| plain.contains(w));
            let rank = wanted.iter().position(|w| plain.starts_with(w)).map(|r| r * 2 + usize::from(is_odd));
            if let Some(rank) = rank.filter(|r| best.as_ref().is_none_or(|(b, _)| r < b))
                && files::len(&path).is_ok_and(|n| n <= MAX_BYTES)
            {
                best = Some((rank, path));
            }
        }
    }
    best.map(|b| b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_font_is_found_in_nested_folders() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = dir.path().join(path);
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::replace(&path, b"font").unwrap();
        };
        put("truetype/wqy/wqy-microhei.ttc");
        put("opentype/noto/NotoSansCJK-Bold.ttc");
        put("opentype/noto/NotoSansCJK-Regular.ttc");
        put("other/NotoSansCJK-Regular.txt");
        let found = find(&[dir.path().join("missing"), dir.path().to_owned()], CJK).unwrap();
        assert!(found.ends_with("opentype/noto/NotoSansCJK-Regular.ttc"), "{}", found.display());
        assert_eq!(find(&[dir.path().to_owned()], &["pingfang"]), None);
    }

    #[test]
    fn our_own_fonts_know_greek_and_cyrillic() {
        let ctx = egui::Context::default();
        ctx.set_fonts(definitions());
        let mut seen = Vec::new();
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            for family in [FontFamily::Proportional, FontFamily::Monospace, strong_family()] {
                let font = egui::FontId::new(13.0, family);
                seen.push(ui.ctx().fonts_mut(|f| f.has_glyphs(&font, "Änderung Ωμέγα Слово")));
            }
        });
        // Nobody uploads the glyphs of a test.
        output.textures_delta.clear();
        assert!(!seen.is_empty() && seen.iter().all(|s| *s));
    }
}
