//! The frame around the panels: menu bar, toolbar, docked panels, status bar, palette, dialogs, toasts.

use egui::{Align, Layout, Panel, RichText, Ui, WidgetText};
use egui_tiles::{Behavior, SimplificationOptions, TileId, Tiles, UiResponse};

use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, JobView};
use crate::ui::menu::Menu;
use crate::ui::problems;
use crate::ui::run_view::RunState;
use crate::ui::selection::Selection;
use crate::ui::theme::{self, Tokens, icons};
use crate::ui::{Open, UiState, dialogs, focus, offers, panels, text, widgets};

use super::layout::{self, DockTree, Pane};
use super::{App, arriving, keyboard, welcome};

impl App {
    /// Draws one frame.
    pub fn ui(&mut self, ui: &mut Ui) {
        let began = std::time::Instant::now();
        self.state.is_by_keyboard = is_by_keyboard(ui.ctx(), self.state.is_by_keyboard);
        self.state.stops.begin(ui.ctx());
        self.shortcuts(ui.ctx());
        self.walk_panels(ui.ctx());
        self.dropped_files(ui.ctx());
        let jobs = self.jobs.views();
        // State and layout are lent to the panels for the frame, so that everything else can be read.
        let mut state = std::mem::take(&mut self.state);
        let mut tree = std::mem::replace(&mut self.layout, DockTree::empty(egui::Id::unique("none")));
        let ctx = self.ctx_parts(&jobs, ui.visuals());
        frame_ui(ui, &ctx, &mut state, &mut tree);
        self.state = state;
        self.layout = tree;
        if self.state.stops.end(ui.ctx()) && self.state.is_by_keyboard {
            focus::control_ui(ui.ctx());
        }
        self.before.end(ui.ctx(), &self.state);
        self.toasts.show(ui.ctx());
        self.pace.frame(began.elapsed());
    }

    /// Shortcuts of the frame, the ones with more modifiers first; plain keys only where nobody is typing.
    fn shortcuts(&mut self, ctx: &egui::Context) {
        if self.state.dialog.is_some() {
            // What stands in front is answered first.
            return;
        }
        let is_typing = ctx.text_edit_focused();
        let mut all: Vec<(Action, egui::KeyboardShortcut)> =
            Action::ALL.iter().filter_map(|a| Some((*a, a.info().shortcut?))).collect();
        all.sort_by_key(|(_, s)| std::cmp::Reverse(u8::from(s.modifiers.shift) + u8::from(s.modifiers.alt)));
        for (action, shortcut) in all {
            let is_editing_key = matches!(action, Action::Undo | Action::Redo | Action::SelectAll);
            if is_typing && (shortcut.modifiers.is_none() || is_editing_key) {
                continue;
            }
            if !ctx.input(|i| i.key_pressed(shortcut.logical_key)) {
                continue;
            }
            // Two actions may share a key where one of them is possible at a time.
            if self.is_enabled(action, ctx) && ctx.input_mut(|i| i.consume_shortcut(&shortcut)) {
                self.commands.send(Command::Do(action));
            }
        }
    }
}

/// Whether keys or the pointer were used last.
fn is_by_keyboard(ctx: &egui::Context, was: bool) -> bool {
    ctx.input(|i| {
        i.events.iter().fold(was, |was, e| match e {
            egui::Event::Key { pressed: true, .. } => true,
            egui::Event::PointerButton { pressed: true, .. } => false,
            _ => was,
        })
    })
}

fn frame_ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState, tree: &mut DockTree) {
    let t = ctx.tokens;
    let bar = egui::Frame::new().fill(t.window).inner_margin(egui::Margin::symmetric(8, 3));
    Panel::top("menu-bar")
        .frame(bar)
        .show_separator_line(false)
        .show(ui, |ui| menu_bar_ui(ui, ctx, tree, &state.selection));
    let tools = egui::Frame::new().fill(t.window).inner_margin(egui::Margin::symmetric(8, 4));
    Panel::top("toolbar").frame(tools).show(ui, |ui| toolbar_ui(ui, ctx));
    let status = egui::Frame::new().fill(t.window).inner_margin(egui::Margin::symmetric(8, 3));
    Panel::bottom("status-bar").frame(status).show(ui, |ui| status_ui(ui, ctx));
    let body = egui::Frame::new().fill(t.window);
    egui::CentralPanel::default().frame(body).show(ui, |ui| {
        if ctx.open.is_some() {
            let fronts = layout::fronts(tree);
            tree.ui(&mut Docking { ctx, state, fronts }, ui);
        } else {
            welcome::ui(ui, ctx);
        }
    });
    if ctx.open.is_some() {
        drop_ui(ui, ctx);
    }
    if let Some(mut palette) = state.palette.take()
        && dialogs::palette_ui(ui, ctx, &state.selection, &mut palette)
    {
        state.palette = Some(palette);
    }
    if let Some(dialog) = &mut state.dialog {
        dialogs::dialog_ui(ui, ctx, dialog);
    }
}

fn menu_bar_ui(ui: &mut Ui, ctx: &Ctx<'_>, tree: &DockTree, selection: &Selection) {
    egui::MenuBar::new().ui(ui, |ui| {
        let mut titles = Vec::new();
        for menu in Menu::ALL {
            let title = ui.menu_button(menu.title(), |ui| {
                ui.set_min_width(230.0);
                for action in Action::ALL.iter().filter(|a| a.info().menu == menu) {
                    menu_entry(ui, ctx, selection, *action);
                    if *action == Action::OpenDemo {
                        recent_menu(ui, ctx);
                    }
                }
                if menu == Menu::View {
                    ui.separator();
                    panels_menu(ui, ctx, tree);
                }
            });
            titles.push(title.response);
        }
        keyboard::menus(ui.ctx(), &titles);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if let Some(open) = ctx.open {
                let mark = if open.is_saved() { "" } else { " •" };
                let name = text::elide_middle(&open.title(), 60);
                ui.label(RichText::new(format!("{name}{mark}")).color(ctx.tokens.text_secondary))
                    .on_hover_text(open.path.to_string_lossy());
            }
        });
    });
}

/// The panels, in a menu of their own: together with the rest they would not fit a small window.
fn panels_menu(ui: &mut Ui, ctx: &Ctx<'_>, tree: &DockTree) {
    let words = format!("{}  Panels", icons::LAYOUT);
    let r = ui.menu_button(words, |ui| {
        ui.set_min_width(160.0);
        for p in panels::ALL {
            let mark = if layout::has(tree, p.id) { icons::CHECK } else { "   " };
            let r = ui.button(format!("{mark}  {}", p.title));
            r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Panel {}", p.title)));
            if r.on_hover_text(p.help).clicked() {
                ctx.send(Command::ShowPanel(p.id));
            }
        }
    });
    r.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Panels"));
}

/// Recent files, in a menu of their own.
fn recent_menu(ui: &mut Ui, ctx: &Ctx<'_>) {
    ui.add_enabled_ui(!ctx.settings.recent.is_empty(), |ui| {
        let words = format!("{}  Open recent", icons::HISTORY);
        let r = ui.menu_button(words, |ui| {
            ui.set_min_width(260.0);
            for path in &ctx.settings.recent {
                let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                let folder = path.parent().map_or_else(String::new, |p| p.to_string_lossy().into_owned());
                let detail = RichText::new(text::elide_middle(&folder, 30)).size(theme::CAPTION).weak();
                let r = ui.add(egui::Button::new(format!("{}  {name}", icons::FILE)).right_text(detail));
                r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Open recent {name}")));
                if r.on_hover_text(path.to_string_lossy()).clicked() {
                    ctx.send(Command::Open(path.clone()));
                    ui.close();
                }
            }
        });
        r.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Open recent"));
    });
}

fn menu_entry(ui: &mut Ui, ctx: &Ctx<'_>, selection: &Selection, action: Action) {
    let info = action.info();
    if info.starts_group {
        ui.separator();
    }
    let mut button = egui::Button::new(format!("{}  {}", info.icon, info.title));
    if let Some(s) = &info.shortcut {
        button = button.shortcut_text(ui.ctx().format_shortcut(s).replace("Comma", ","));
    }
    let covered = ctx.open.and_then(|open| offers::covered(ui, open, selection, action));
    if let Some(c) = covered.filter(|_| info.shortcut.is_none()) {
        button = button.right_text(RichText::new(c.short()).size(theme::CAPTION).weak());
    }
    let enabled = ctx.is_enabled(action);
    let r = ui.add_enabled(enabled, button);
    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, enabled, info.title));
    let r = match ctx.why_not(action) {
        Some(why) => r.on_disabled_hover_text(format!("{}: {why}", info.title.trim_end_matches('…'))),
        None if info.help.is_empty() => r,
        None => r.on_hover_text(info.help),
    };
    let r = if let Some(c) = covered { r.on_hover_text(c.exact()) } else { r };
    if r.clicked() {
        ctx.act(action);
    }
}

fn toolbar_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    ui.horizontal(|ui| {
        ui.set_height(theme::TOOLBAR_HEIGHT - 8.0);
        let search = egui::Button::new(
            RichText::new(format!("{}  Search or run a command", icons::SEARCH)).color(ctx.tokens.text_secondary),
        )
        .right_text(RichText::new("Ctrl+P").size(theme::CAPTION).color(ctx.tokens.text_secondary))
        .min_size(egui::vec2((ui.available_width() * 0.3).clamp(230.0, 420.0), theme::BUTTON_HEIGHT));
        let r = ui.add(search);
        r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Search or run a command"));
        if r.clicked() {
            ctx.act(Action::Palette);
        }
        ui.separator();
        for action in [Action::Undo, Action::Redo] {
            let info = action.info();
            if widgets::icon_button_enabled(ui, ctx.is_enabled(action), info.icon, info.title).clicked() {
                ctx.act(action);
            }
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| run_controls_ui(ui, ctx));
    });
}

/// Right to left: progress, stop, pause, train.
fn run_controls_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    if ctx.open.is_none() {
        return;
    }
    let run = ctx.run;
    if let Some(r) = run.filter(|r| r.state.is_active()) {
        let left = r.remaining_secs().map_or_else(String::new, |s| format!("{} left", text::duration(s)));
        ui.label(RichText::new(left).monospace().color(ctx.tokens.text_secondary));
        let bar = widgets::share_bar(ui, r.fraction(), ctx.tokens.accent, egui::vec2(110.0, 6.0));
        bar.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ProgressIndicator, true, "Progress of the run"));
        let words = if r.total_epochs > 0 {
            format!("epoch {}/{}", (r.epoch + 1).min(r.total_epochs), r.total_epochs)
        } else {
            format!("step {}/{}", r.step, r.total_steps)
        };
        ui.label(words);
        ui.add_space(4.0);
    }
    let is_active = run.is_some_and(|r| r.state.is_active());
    if is_active {
        if widgets::icon_button(ui, icons::STOP, "Stop and keep").clicked() {
            ctx.act(Action::StopAndKeep);
        }
        let is_paused = run.is_some_and(|r| r.state == RunState::Paused);
        let action = if is_paused { Action::Resume } else { Action::Pause };
        let info = action.info();
        if widgets::icon_button_enabled(ui, ctx.is_enabled(action), info.icon, info.title).clicked() {
            ctx.act(action);
        }
    } else {
        let r = widgets::primary_button(ui, icons::PLAY, "Start training", ctx.is_enabled(Action::Train));
        if r.on_hover_text("Starts with the settings of the form (Ctrl+Enter)").clicked() {
            ctx.act(Action::Train);
        }
    }
}

fn status_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 12.0;
        match ctx.open {
            Some(open) => {
                let o = &open.overview;
                let words = format!(
                    "{} · {} · {}",
                    text::format_label(&o.format),
                    text::plural(o.nodes.len(), "node", "nodes"),
                    text::bytes(o.bytes)
                );
                widgets::caption(ui, words).on_hover_text(format!("{} bytes", text::exact(o.bytes as usize)));
                if open.is_refreshing {
                    widgets::caption(ui, "updating…");
                }
            }
            None => {
                widgets::caption(ui, "No model is open");
            }
        }
        for job in ctx.jobs {
            job_ui(ui, ctx, job);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if let Some(open) = ctx.open {
                let words = match (open.is_saved(), open.saved_at.map(|at| at.elapsed().as_secs() / 60)) {
                    (false, _) => "not saved".to_owned(),
                    (true, None | Some(0)) => "saved".to_owned(),
                    (true, Some(minutes)) => format!("saved {minutes} min ago"),
                };
                widgets::caption(ui, words);
                if open.is_saved() && open.saved_at.is_some() {
                    ui.ctx().request_repaint_after(std::time::Duration::from_secs(60));
                }
            }
            let threads = match ctx.settings.threads {
                0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
                n => n,
            };
            widgets::caption(ui, text::plural(threads, "thread", "threads"))
                .on_hover_text("Threads of runs and proofs");
            if let Some(r) = ctx.run {
                let memory = if r.memory_bytes > 0 {
                    format!(" · {} est.", text::bytes(r.memory_bytes))
                } else {
                    String::new()
                };
                widgets::caption(ui, format!("{} {}{memory}", r.name, r.state.title().to_lowercase()));
            } else if let Some(bytes) = ctx.open.and_then(estimated_bytes) {
                widgets::caption(ui, format!("{} est.", text::bytes(bytes)))
                    .on_hover_text("Memory that a run with these decisions would take");
            }
        });
    });
}

/// What a run would take, as long as that is known of the decisions as they are.
fn estimated_bytes(open: &Open) -> Option<u64> {
    let e = open.estimate.as_ref().filter(|e| *e.recipe == *open.recipe())?;
    Some(e.result.as_ref().ok()?.memory_bytes)
}

fn job_ui(ui: &mut Ui, ctx: &Ctx<'_>, job: &JobView) {
    ui.separator();
    match job.fraction {
        Some(f) => {
            ui.add(egui::ProgressBar::new(f).desired_width(80.0).desired_height(6.0).fill(ctx.tokens.accent))
                .accessible_name(&job.title);
        }
        None => {
            ui.add(egui::Spinner::new().size(12.0));
        }
    }
    let words = if job.step.is_empty() { job.title.clone() } else { format!("{}: {}", job.title, job.step) };
    widgets::caption(ui, words);
    if widgets::icon_button(ui, icons::CLOSE, &format!("Cancel {}", job.title)).clicked() {
        ctx.send(Command::CancelJob(job.id));
    }
}

/// What a file that is held over the window would do.
fn drop_ui(ui: &Ui, ctx: &Ctx<'_>) {
    let held = ui.input(|i| i.raw.hovered_files.first().map(|f| f.path.clone()));
    let Some(path) = held else { return };
    let words = match path {
        Some(p) if arriving::is_data(&p) => "Drop it to use it as training data",
        Some(p) if p.extension().is_some() => "Drop it to open it",
        _ => "Drop a model, a session or training data",
    };
    let rect = ui.ctx().content_rect();
    let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop"));
    let painter = ui.ctx().layer_painter(layer);
    painter.rect_filled(rect, 0.0, theme::tokens::faded(ctx.tokens.window, 0.85));
    let stroke = egui::Stroke::new(2.0, ctx.tokens.accent);
    painter.rect_stroke(rect.shrink(8.0), 6.0, stroke, egui::StrokeKind::Inside);
    let font = egui::FontId::proportional(theme::WELCOME);
    painter.text(rect.center(), egui::Align2::CENTER_CENTER, words, font, ctx.tokens.text);
}

/// Shows panels in their tiles.
struct Docking<'a, 'b> {
    ctx: &'a Ctx<'b>,
    state: &'a mut UiState,
    /// Tabs in front of others; read beforehand, since a container that draws is taken out of the tree.
    fronts: Vec<TileId>,
}

impl Behavior<Pane> for Docking<'_, '_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, pane: &mut Pane) -> UiResponse {
        let t = self.ctx.tokens;
        egui::Frame::new().fill(t.panel).inner_margin(8).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            if let Some(panel) = panels::named(&pane.0) {
                if panel.id != "graph" {
                    focus::panel_ui(ui, panel, self.state);
                }
                (panel.ui)(ui, self.ctx, self.state);
            }
        });
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> WidgetText {
        let Some(panel) = panels::named(&pane.0) else { return pane.0.as_str().into() };
        let mut title = panel.title.to_owned();
        if panel.id == "problems"
            && let Some(open) = self.ctx.open
        {
            let n = open.problems().len() + self.ctx.run.map_or(0, |r| problems::of_run(r, open.recipe()).len());
            if n > 0 {
                title.push_str(&format!(" {n}"));
            }
        }
        RichText::new(title).into()
    }

    /// The tab in front has a close mark; the View menu and the palette bring a closed panel back.
    fn is_tab_closable(&self, _tiles: &Tiles<Pane>, tile: TileId) -> bool {
        self.fronts.contains(&tile)
    }

    fn on_tab_close(&mut self, tiles: &mut Tiles<Pane>, tile: TileId) -> bool {
        if let Some(panel) = tiles.get_pane(&tile).and_then(|p| panels::named(&p.0)) {
            self.ctx.send(Command::ClosePanel(panel.id));
        }
        // The command does it, between frames.
        false
    }

    fn on_tab_button(&mut self, tiles: &mut Tiles<Pane>, tile: TileId, button: egui::Response) -> egui::Response {
        let Some(panel) = tiles.get_pane(&tile).and_then(|p| panels::named(&p.0)) else { return button };
        button.context_menu(|ui| {
            for (is_right, word) in [(true, "to the right"), (false, "below")] {
                if offers::entry(ui, true, icons::LAYOUT, &format!("Split {} off {word}", panel.title), None) {
                    self.ctx.send(Command::SplitPanel(panel.id, is_right));
                }
            }
            if offers::entry(ui, true, icons::CLOSE, &format!("Close {}", panel.title), None) {
                self.ctx.send(Command::ClosePanel(panel.id));
            }
            ui.separator();
            if offers::entry(ui, true, icons::UNDO, Action::ResetLayout.info().title, None) {
                self.ctx.act(Action::ResetLayout);
            }
        });
        button.on_hover_text(panel.help)
    }

    fn tab_bar_color(&self, visuals: &egui::Visuals) -> egui::Color32 {
        Tokens::of(visuals).window
    }

    fn tab_bg_color(
        &self,
        visuals: &egui::Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        state: &egui_tiles::TabState,
    ) -> egui::Color32 {
        let t = Tokens::of(visuals);
        if state.active { t.panel } else { t.window }
    }

    fn tab_outline_stroke(
        &self,
        visuals: &egui::Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        _: &egui_tiles::TabState,
    ) -> egui::Stroke {
        let _ = visuals;
        egui::Stroke::NONE
    }

    fn tab_bar_hline_stroke(&self, visuals: &egui::Visuals) -> egui::Stroke {
        egui::Stroke::new(1.0, Tokens::of(visuals).panel)
    }

    fn tab_text_color(
        &self,
        visuals: &egui::Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        state: &egui_tiles::TabState,
    ) -> egui::Color32 {
        let t = Tokens::of(visuals);
        if state.active { t.text } else { t.text_secondary }
    }

    fn tab_bar_height(&self, _style: &egui::Style) -> f32 {
        26.0
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        4.0
    }

    fn min_size(&self) -> f32 {
        90.0
    }

    fn simplification_options(&self) -> SimplificationOptions {
        // A lone panel keeps its tab, so that its title stays visible.
        SimplificationOptions { all_panes_must_have_tabs: true, ..SimplificationOptions::default() }
    }
}
