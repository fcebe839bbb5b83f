//! Colours and sizes of both themes. The only file of the window that states a raw colour.
//!
//! Both themes meet WCAG AA for text and 3:1 for marks; `contrast` tests it.

#![allow(clippy::disallowed_methods)] // the one place where raw colours are stated

use egui::Color32;

/// Every colour that the window uses. Colour carries meaning and nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    pub dark: bool,
    /// Behind all panels.
    pub window: Color32,
    /// Panels and tables.
    pub panel: Color32,
    /// Cards, inputs, menus.
    pub raised: Color32,
    pub stroke_subtle: Color32,
    pub stroke_strong: Color32,
    pub text: Color32,
    pub text_secondary: Color32,
    pub text_disabled: Color32,
    /// Selection, primary action, links.
    pub accent: Color32,
    /// Text on an accent fill.
    pub on_accent: Color32,
    pub trainable: Color32,
    pub frozen: Color32,
    pub grafted: Color32,
    pub bypassed: Color32,
    pub blocked: Color32,
    pub zero: Color32,
    pub flows: Color32,
    pub error: Color32,
    pub warning: Color32,
    pub info: Color32,
    /// Plot series in Okabe-Ito order: train is the first, validation the second, always.
    pub series: [Color32; 8],
    /// Stripes of node cards, by op family.
    pub families: [Color32; 10],
}

const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

pub const DARK: Tokens = Tokens {
    dark: true,
    window: hex(0x15171B),
    panel: hex(0x1B1E24),
    raised: hex(0x242832),
    stroke_subtle: hex(0x2C313B),
    stroke_strong: hex(0x444B59),
    text: hex(0xE8EAED),
    text_secondary: hex(0xA0A7B4),
    text_disabled: hex(0x626A78),
    accent: hex(0x4C9DFF),
    on_accent: hex(0x0B1420),
    trainable: hex(0x3DBE8B),
    frozen: hex(0x8A93A3),
    grafted: hex(0xB48CFF),
    bypassed: hex(0x7D8594),
    blocked: hex(0xFF6B6B),
    zero: hex(0xF2B134),
    flows: hex(0x3DBE8B),
    error: hex(0xFF6B6B),
    warning: hex(0xF2B134),
    info: hex(0x4C9DFF),
    series: [
        hex(0x62BCF2),
        hex(0xF0A93A),
        hex(0x2FC79B),
        hex(0xE58AB8),
        hex(0xF4E85E),
        hex(0x5C93E6),
        hex(0xF0763A),
        hex(0xB9BEC7),
    ],
    families: [
        hex(0x5C93E6),
        hex(0x2FB6C7),
        hex(0x9A86E8),
        hex(0xF0A93A),
        hex(0x8A93A3),
        hex(0xB99A6B),
        hex(0xE58AB8),
        hex(0xF0763A),
        hex(0x2FC79B),
        hex(0x62BCF2),
    ],
};

pub const LIGHT: Tokens = Tokens {
    dark: false,
    window: hex(0xF2F3F5),
    panel: hex(0xFFFFFF),
    raised: hex(0xF7F8FA),
    stroke_subtle: hex(0xE1E4E9),
    stroke_strong: hex(0xBCC2CC),
    text: hex(0x1B1F27),
    text_secondary: hex(0x5A6372),
    text_disabled: hex(0x9AA2AF),
    accent: hex(0x1667D9),
    on_accent: hex(0xFFFFFF),
    trainable: hex(0x12845A),
    frozen: hex(0x7A8494),
    grafted: hex(0x7A45D6),
    bypassed: hex(0x858D9B),
    blocked: hex(0xC92A2A),
    zero: hex(0xA86A00),
    flows: hex(0x12845A),
    error: hex(0xC92A2A),
    warning: hex(0xA86A00),
    info: hex(0x1667D9),
    series: [
        hex(0x1579B8),
        hex(0xB36B00),
        hex(0x007A5A),
        hex(0xA94F80),
        hex(0x8A7D00),
        hex(0x0B4F9C),
        hex(0xB84A00),
        hex(0x4A515C),
    ],
    families: [
        hex(0x0B4F9C),
        hex(0x007A8A),
        hex(0x6A4FC4),
        hex(0xB36B00),
        hex(0x7A8494),
        hex(0x86683A),
        hex(0xA94F80),
        hex(0xB84A00),
        hex(0x007A5A),
        hex(0x1579B8),
    ],
};

impl Tokens {
    /// The tokens of the theme that is on.
    pub fn of(visuals: &egui::Visuals) -> &'static Self {
        if visuals.dark_mode { &DARK } else { &LIGHT }
    }

    /// A quiet fill in a meaning's colour, behind text in that colour.
    pub fn tint(&self, color: Color32) -> Color32 {
        mix(self.panel, color, if self.dark { 0.18 } else { 0.12 })
    }

    /// The accent as a fill behind normal text (selected rows).
    pub fn selection(&self) -> Color32 {
        mix(self.panel, self.accent, if self.dark { 0.24 } else { 0.16 })
    }

    /// A meaning's colour as text on a ground: as much towards the text's own colour as it takes to be read.
    pub fn ink(&self, color: Color32, ground: Color32) -> Color32 {
        const STEPS: u8 = 20;
        let step = |i: u8| mix(color, self.text, f32::from(i) / f32::from(STEPS));
        (0..=STEPS).map(step).find(|c| contrast(*c, ground) >= 4.5).unwrap_or(self.text)
    }

    /// A row or button under the pointer.
    pub fn hover(&self) -> Color32 {
        mix(self.raised, self.text, 0.07)
    }
}

/// `a` moved towards `b` by `t` of the way.
pub fn mix(a: Color32, b: Color32, t: f32) -> Color32 {
    let lerp = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * t.clamp(0.0, 1.0)).round() as u8;
    Color32::from_rgb(lerp(a.r(), b.r()), lerp(a.g(), b.g()), lerp(a.b(), b.b()))
}

/// Black at an opacity of 0 to 255, for shadows.
pub fn shade(opacity: u8) -> Color32 {
    Color32::from_black_alpha(opacity)
}

/// `color` at an opacity between 0 and 1.
pub fn faded(color: Color32, opacity: f32) -> Color32 {
    color.gamma_multiply(opacity)
}

/// A point of the viridis scale (van der Walt and Smith 2015), `t` from 0 to 1.
pub fn viridis(t: f32) -> Color32 {
    at(colorous::VIRIDIS, t)
}

/// Blue, white, red (Brewer's RdBu); `t` from -1 to 1, centred at zero.
pub fn diverging(t: f32) -> Color32 {
    at(colorous::RED_BLUE, (1.0 - t) / 2.0)
}

fn at(scale: colorous::Gradient, t: f32) -> Color32 {
    let c = scale.eval_continuous(f64::from(t.clamp(0.0, 1.0)));
    Color32::from_rgb(c.r, c.g, c.b)
}

/// Contrast ratio of two colours after WCAG 2.1, from 1 to 21.
pub fn contrast(a: Color32, b: Color32) -> f32 {
    let luminance = |c: Color32| {
        let channel = |v: u8| {
            let v = f32::from(v) / 255.0;
            if v <= 0.03928 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(c.r()) + 0.7152 * channel(c.g()) + 0.0722 * channel(c.b())
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_meets_aa_and_marks_three_to_one_on_every_surface() {
        let at_least = |least: f32, what: &str, color: Color32, ground: Color32| {
            let found = contrast(color, ground);
            assert!(found >= least, "{what}: {color:?} on {ground:?} is {found}");
        };
        for t in [DARK, LIGHT] {
            let plain = [t.window, t.panel, t.raised];
            let all = [t.window, t.panel, t.raised, t.selection(), t.hover()];
            for ground in all {
                at_least(4.5, "text", t.text, ground);
                at_least(4.5, "secondary text", t.text_secondary, ground);
            }
            let states = [t.trainable, t.frozen, t.grafted, t.bypassed, t.blocked, t.zero, t.flows];
            let severities = [t.error, t.warning, t.info];
            for ground in plain {
                // Links and messages are words in a meaning's colour.
                at_least(4.5, "link", t.accent, ground);
                at_least(4.5, "error", t.error, ground);
                for mark in [t.accent].into_iter().chain(states).chain(severities).chain(t.series).chain(t.families) {
                    at_least(3.0, "mark", mark, ground);
                }
            }
            // Cards and rows keep their dots and stripes when they are selected.
            for mark in [t.trainable, t.frozen].into_iter().chain(t.families) {
                at_least(3.0, "mark", mark, t.selection());
            }
            for color in states.into_iter().chain(severities).chain([t.accent, t.text_secondary]) {
                let ground = t.tint(color);
                at_least(4.5, "badge", t.ink(color, ground), ground);
                for ground in all {
                    at_least(4.5, "ink", t.ink(color, ground), ground);
                }
            }
            assert_eq!(t.ink(t.text, t.panel), t.text, "what can be read stays");
            at_least(4.5, "primary button", t.on_accent, t.accent);
            at_least(3.0, "knob of a switch", t.on_accent, t.trainable);
        }
    }

    /// What the design states, dark and light.
    #[test]
    fn tokens_are_those_of_the_design() {
        for (name, of, dark, light) in [
            ("surface.window", (|t: &Tokens| t.window) as fn(&Tokens) -> Color32, 0x15171B, 0xF2F3F5),
            ("surface.panel", |t| t.panel, 0x1B1E24, 0xFFFFFF),
            ("surface.raised", |t| t.raised, 0x242832, 0xF7F8FA),
            ("stroke.subtle", |t| t.stroke_subtle, 0x2C313B, 0xE1E4E9),
            ("stroke.strong", |t| t.stroke_strong, 0x444B59, 0xBCC2CC),
            ("text.primary", |t| t.text, 0xE8EAED, 0x1B1F27),
            ("text.secondary", |t| t.text_secondary, 0xA0A7B4, 0x5A6372),
            ("text.disabled", |t| t.text_disabled, 0x626A78, 0x9AA2AF),
            ("accent", |t| t.accent, 0x4C9DFF, 0x1667D9),
            ("state.trainable", |t| t.trainable, 0x3DBE8B, 0x12845A),
            ("state.frozen", |t| t.frozen, 0x8A93A3, 0x7A8494),
            ("state.grafted", |t| t.grafted, 0xB48CFF, 0x7A45D6),
            // Its light one is a shade darker than first drawn, for 3:1 on the window's own ground.
            ("state.bypassed", |t| t.bypassed, 0x7D8594, 0x858D9B),
            ("verdict.blocked", |t| t.blocked, 0xFF6B6B, 0xC92A2A),
            ("verdict.zero", |t| t.zero, 0xF2B134, 0xA86A00),
            ("verdict.flows", |t| t.flows, 0x3DBE8B, 0x12845A),
            ("severity.error", |t| t.error, 0xFF6B6B, 0xC92A2A),
            ("severity.warning", |t| t.warning, 0xF2B134, 0xA86A00),
            ("severity.info", |t| t.info, 0x4C9DFF, 0x1667D9),
        ] {
            assert_eq!((of(&DARK), of(&LIGHT)), (hex(dark), hex(light)), "{name}");
        }
    }

    /// Families and series are told apart by their colour alone in stripes and lines.
    #[test]
    fn colours_of_one_list_are_all_different() {
        for t in [DARK, LIGHT] {
            for list in [&t.series[..], &t.families[..]] {
                for (i, a) in list.iter().enumerate() {
                    assert!(!list[..i].contains(a), "{a:?}");
                }
            }
        }
    }

    #[test]
    fn scales_meet_their_ends() {
        assert_eq!(viridis(0.0), hex(0x440154));
        assert_eq!(viridis(1.0), hex(0xFDE725));
        // White in the middle, warm above it, cold below it, as strong on both sides.
        let (zero, high, low) = (diverging(0.0), diverging(5.0), diverging(-5.0));
        assert!(zero.r() > 235 && zero.g() > 235 && zero.b() > 235, "{zero:?}");
        assert!(high.r() > 2 * high.b() && low.b() > 2 * low.r(), "{high:?} {low:?}");
    }
}
