/* Drawings of a report as SVG, to stand inside an HTML page: colours are the page's classes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/report.h"

enum { LABEL = 250, PLOT = 420, WIDTH = LABEL + PLOT + 90, ROW = 26, TOP = 8, BOTTOM = 34, TICKS = 5 };

static void open_svg(vipo_text *out, const char *title, int height)
{
    vipo_text_add(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>%s</title>\n", WIDTH, height, title);
}

static void close_svg(vipo_text *out)
{
    vipo_text_add(out, "</svg>\n");
}

static void add_text(vipo_text *out, double x, double y, const char *anchor, const char *text)
{
    vipo_text_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    vipo_text_add_html(out, text);
    vipo_text_add(out, "</text>\n");
}

static void add_label(vipo_text *out, int row, const char *label)
{
    char cut[48];
    const size_t length = strlen(label);
    snprintf(cut, sizeof cut, "%.38s%s", label, length > 38 ? "..." : "");
    add_text(out, LABEL - 8, TOP + row * ROW + ROW / 2 + 4, "end", cut);
}

/* The largest 1, 2 or 5 times a power of ten that makes at most TICKS steps of `most`. */
static double tick_of(double most)
{
    const double raw = most / TICKS, power = pow(10, floor(log10(raw)));
    for (int i = 0; i < 4; i++) {
        static const double steps[] = {1, 2, 5, 10};
        if (raw <= steps[i] * power * 1.0000001) return steps[i] * power;
    }
    return 10 * power;
}

/* Vertical lines with numbers under them; returns the value at the right end. */
static double add_axis(vipo_text *out, double most, int rows, const char *unit, const char *name)
{
    const double tick = tick_of(most > 0 ? most : 1), end = ceil(most / tick - 1e-9) * tick;
    const double last = end > 0 ? end : 1;
    const int foot = TOP + rows * ROW;
    for (double value = 0; value <= last * 1.0000001; value += tick) {
        char text[VIPO_CELL];
        const double x = LABEL + PLOT * value / last;
        vipo_text_add(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", x, x, TOP,
                      foot);
        snprintf(text, sizeof text, "%g%s", round(value / tick) * tick, unit);
        add_text(out, x, foot + 14, "middle", text);
    }
    add_text(out, LABEL + PLOT / 2.0, foot + 29, "middle", name);
    return last;
}

void vipo_plot_success(const vipo_report *report, vipo_text *out)
{
    const int n = report->n_settings;
    open_svg(out, "success rate with 95 % interval", TOP + n * ROW + BOTTOM);
    add_axis(out, 100, n, " %", "success, 95 % interval");
    for (int i = 0; i < n; i++) {
        const vipo_tally *const t = &report->settings[i].all;
        const double y = TOP + i * ROW + ROW / 2.0;
        add_label(out, i, report->settings[i].settings.label);
        vipo_text_add(out, "<line class=\"s0 thick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
                      LABEL + PLOT * t->low, LABEL + PLOT * t->high, y, y);
        vipo_text_add(out, "<circle class=\"f0\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n",
                      LABEL + PLOT * vipo_tally_rate(t), y);
    }
    close_svg(out);
}

void vipo_plot_acceptance(const vipo_report *report, vipo_text *out)
{
    int n = 0, row = 0;
    for (int i = 0; i < report->n_settings; i++) n += report->settings[i].all.drafted > 0;
    if (n == 0) return;
    open_svg(out, "accepted draft steps", TOP + n * ROW + BOTTOM);
    add_axis(out, 100, n, " %", "draft steps that were accepted");
    for (int i = 0; i < report->n_settings; i++) {
        const vipo_tally *const t = &report->settings[i].all;
        char text[VIPO_CELL];
        if (!(t->drafted > 0)) continue;
        const double share = t->accepted / t->drafted;
        add_label(out, row, report->settings[i].settings.label);
        vipo_text_add(out, "<rect class=\"f1\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", LABEL,
                      TOP + row * ROW + 5, PLOT * share, ROW - 10);
        snprintf(text, sizeof text, "%.1f %%", 100 * share);
        add_text(out, LABEL + PLOT + 8, TOP + row * ROW + ROW / 2 + 4, "start", text);
        row++;
    }
    close_svg(out);
}

static double part_of(const vipo_tally *t, int part)
{
    const double parts[] = {t->planning_seconds, t->flow_seconds, t->acting_seconds, t->physics_seconds,
                            t->rendering_seconds};
    double known = 0;
    for (int i = 0; i < 5; i++) known += parts[i];
    return (part < 5 ? parts[part] : fmax(t->seconds - known, 0)) / t->episodes;
}

void vipo_plot_time(const vipo_report *report, vipo_text *out)
{
    static const char *const names[] = {"planning", "flow", "acting", "physics", "rendering", "other"};
    const int n = report->n_settings;
    double most = 0;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 6; k++) sum += part_of(&report->settings[i].all, k);
        most = fmax(most, sum);
    }
    open_svg(out, "seconds of an episode", TOP + n * ROW + BOTTOM + 22);
    const double end = add_axis(out, most, n, " s", "seconds of an episode, mean");
    for (int i = 0; i < n; i++) {
        double x = LABEL;
        add_label(out, i, report->settings[i].settings.label);
        for (int k = 0; k < 6; k++) {
            const double width = PLOT * part_of(&report->settings[i].all, k) / end;
            vipo_text_add(out,
                          "<rect class=\"f%d\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>%s "
                          "%.3f s</title></rect>\n",
                          k, x, TOP + i * ROW + 5, width, ROW - 10, names[k],
                          part_of(&report->settings[i].all, k));
            x += width;
        }
    }
    for (int k = 0; k < 6; k++) {
        const int x = LABEL + k * 78, y = TOP + n * ROW + BOTTOM + 4;
        vipo_text_add(out, "<rect class=\"f%d\" x=\"%d\" y=\"%d\" width=\"10\" height=\"10\"/>\n", k, x, y);
        add_text(out, x + 14, y + 9, "start", names[k]);
    }
    close_svg(out);
}

/* Each setting's success over what its plans cost: up and to the left is better. */
void vipo_plot_success_by_time(const vipo_report *report, vipo_text *out)
{
    enum { ROWS = 10 };
    int n = 0;
    double most = 0;
    for (int i = 0; i < report->n_settings; i++) {
        const vipo_tally *const t = &report->settings[i].all;
        n += t->plans > 0;
        if (t->plans > 0) most = fmax(most, t->planning_seconds / t->plans);
    }
    if (n < 2) return;
    open_svg(out, "success over seconds per plan", TOP + ROWS * ROW + BOTTOM);
    const double end = add_axis(out, most, ROWS, " s", "seconds per plan, mean");
    for (int i = 0; i <= 4; i++) {
        char text[VIPO_CELL];
        const double y = TOP + ROWS * ROW * (1 - i / 4.0);
        vipo_text_add(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LABEL,
                      LABEL + PLOT, y, y);
        snprintf(text, sizeof text, "%d %%", 25 * i);
        add_text(out, LABEL - 8, y + 4, "end", text);
    }
    for (int i = 0; i < report->n_settings; i++) {
        const vipo_tally *const t = &report->settings[i].all;
        if (t->plans == 0) continue;
        const double x = LABEL + PLOT * t->planning_seconds / t->plans / end, height = ROWS * ROW;
        vipo_text_add(out, "<g><title>");
        vipo_text_add_html(out, report->settings[i].settings.label);
        vipo_text_add(out, "</title><line class=\"s0\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x,
                      x, TOP + height * (1 - t->low), TOP + height * (1 - t->high));
        vipo_text_add(out, "<circle class=\"f0\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/></g>\n", x,
                      TOP + height * (1 - vipo_tally_rate(t)));
        char number[VIPO_CELL];
        snprintf(number, sizeof number, "%d", i + 1);
        add_text(out, x + 8, TOP + height * (1 - vipo_tally_rate(t)) - 4, "start", number);
    }
    close_svg(out);
    vipo_text_add(out, "<p class=\"note\">");
    for (int i = 0; i < report->n_settings; i++) {
        if (report->settings[i].all.plans == 0) continue;
        vipo_text_add(out, "%d: ", i + 1);
        vipo_text_add_html(out, report->settings[i].settings.label);
        vipo_text_add(out, ". ");
    }
    vipo_text_add(out, "</p>\n");
}
