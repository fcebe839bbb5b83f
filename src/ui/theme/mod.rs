//! How everything looks: tokens, fonts, icons, and the egui style made from them.

pub mod fonts;
pub mod icons;
pub mod tokens;

use egui::{CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle, Theme, vec2};

pub use tokens::Tokens;

/// Heights of the 4 px grid.
pub const ROW_HEIGHT: f32 = 22.0;
pub const LIST_ROW_HEIGHT: f32 = 24.0;
pub const BUTTON_HEIGHT: f32 = 26.0;
pub const TOOLBAR_HEIGHT: f32 = 34.0;
pub const RELATED: f32 = 8.0;
pub const GROUPS: f32 = 16.0;

/// Text sizes.
pub const CAPTION: f32 = 11.0;
pub const BODY: f32 = 13.0;
pub const TITLE: f32 = 15.0;
pub const WELCOME: f32 = 20.0;

/// Installs fonts and both styles; called once per context.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts::definitions());
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, theme));
    }
}

/// The semibold family for titles.
pub fn strong_family() -> FontFamily {
    FontFamily::Name("strong".into())
}

/// Names, shapes and numbers in tables.
pub fn mono(size: f32) -> FontId {
    FontId::new(size, FontFamily::Monospace)
}

fn apply(style: &mut egui::Style, theme: Theme) {
    let t = if theme == Theme::Dark { &tokens::DARK } else { &tokens::LIGHT };
    style.text_styles = [
        (TextStyle::Small, FontId::proportional(CAPTION)),
        (TextStyle::Body, FontId::proportional(BODY)),
        (TextStyle::Button, FontId::proportional(BODY)),
        (TextStyle::Heading, FontId::new(TITLE, strong_family())),
        (TextStyle::Monospace, mono(BODY)),
    ]
    .into();
    style.drag_value_text_style = TextStyle::Monospace;
    let s = &mut style.spacing;
    s.item_spacing = vec2(8.0, 4.0);
    s.button_padding = vec2(10.0, 4.0);
    s.interact_size = vec2(32.0, BUTTON_HEIGHT - 2.0);
    s.indent = 16.0;
    s.window_margin = Margin::same(16);
    s.menu_margin = Margin::same(6);
    s.icon_width = 15.0;
    s.icon_width_inner = 9.0;
    s.icon_spacing = 6.0;
    s.combo_width = 96.0;
    s.tooltip_width = 420.0;
    s.scroll = egui::style::ScrollStyle::solid();
    s.scroll.bar_width = 8.0;
    s.scroll.fade.strength = 0.0;
    s.scroll.bar_inner_margin = 4.0;
    s.scroll.bar_outer_margin = 1.0;
    style.interaction.tooltip_delay = 0.35;
    style.interaction.selectable_labels = false;
    style.animation_time = 0.14;
    style.visuals = visuals(t, theme);
}

fn visuals(t: &Tokens, theme: Theme) -> egui::Visuals {
    let mut v = theme.default_visuals();
    v.override_text_color = None;
    v.weak_text_color = Some(t.text_secondary);
    v.hyperlink_color = t.accent;
    v.faint_bg_color = tokens::mix(t.panel, t.raised, 0.5);
    v.extreme_bg_color = if t.dark { t.window } else { t.panel };
    v.text_edit_bg_color = Some(if t.dark { t.window } else { t.panel });
    v.code_bg_color = t.raised;
    v.warn_fg_color = t.warning;
    v.error_fg_color = t.error;
    v.panel_fill = t.panel;
    v.window_fill = if t.dark { t.raised } else { t.panel };
    v.window_stroke = Stroke::new(1.0, t.stroke_strong);
    v.window_corner_radius = CornerRadius::same(8);
    v.menu_corner_radius = CornerRadius::same(6);
    let shade = tokens::shade(if t.dark { 110 } else { 40 });
    v.window_shadow = Shadow { offset: [0, 6], blur: 20, spread: 0, color: shade };
    v.popup_shadow = Shadow { offset: [0, 4], blur: 12, spread: 0, color: shade };
    v.selection.bg_fill = t.selection();
    v.selection.stroke = Stroke::new(1.0, t.text);
    v.striped = false;
    v.indent_has_left_vline = false;
    v.slider_trailing_fill = true;
    v.disabled_alpha = 0.45;
    let corner = CornerRadius::same(4);
    let set = |w: &mut egui::style::WidgetVisuals, fill, stroke, text| {
        w.bg_fill = fill;
        w.weak_bg_fill = fill;
        w.bg_stroke = Stroke::new(1.0, stroke);
        w.fg_stroke = Stroke::new(1.0, text);
        w.corner_radius = corner;
        w.expansion = 0.0;
    };
    let w = &mut v.widgets;
    set(&mut w.noninteractive, t.panel, t.stroke_subtle, t.text);
    set(&mut w.inactive, t.raised, t.stroke_subtle, t.text);
    set(&mut w.hovered, t.hover(), t.stroke_strong, t.text);
    set(&mut w.active, t.selection(), t.accent, t.text);
    set(&mut w.open, t.hover(), t.stroke_strong, t.text);
    // Sliders and check boxes need a mark against the panel.
    w.inactive.bg_fill = tokens::mix(t.raised, t.text, 0.10);
    w.inactive.bg_stroke = Stroke::new(1.0, t.stroke_strong);
    v
}
