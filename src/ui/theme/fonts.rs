//! Inter for text, JetBrains Mono for names and numbers, Phosphor for icons, and what the system has for other scripts.

use std::sync::Arc;

use egui::{FontData, FontDefinitions, FontFamily};

use super::strong_family;

const INTER: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.ttf");
const INTER_STRONG: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.ttf");
const MONO: &[u8] = include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf");
const ICONS: &[u8] = include_bytes!("../../../assets/fonts/Phosphor.ttf");

/// Where systems keep a font with Chinese, Japanese and Korean glyphs.
const SYSTEM_CJK: &[&str] = &[
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "C:\\Windows\\Fonts\\msyh.ttc",
    "C:\\Windows\\Fonts\\YuGothR.ttc",
];

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
    let found = SYSTEM_CJK.iter().find_map(|p| crate::base::files::read(std::path::Path::new(p)).ok());
    if let Some(bytes) = found {
        fonts.font_data.insert("system-cjk".to_owned(), Arc::new(FontData::from_owned(bytes)));
        for names in fonts.families.values_mut() {
            names.push("system-cjk".to_owned());
        }
    }
    fonts
}
