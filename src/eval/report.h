/* The forms of a report. */
#ifndef VIPO_EVAL_REPORT_H
#define VIPO_EVAL_REPORT_H

#include "eval/summary.h"
#include "eval/text.h"

/* One form: by the ending of a file's name, or by the whole name. */
typedef struct vipo_report_form {
    const char *kind; /* also the ending, without its dot */
    const char *file; /* a whole name; NULL: any of that ending */
    vipo_status (*write)(const vipo_report *report, vipo_text *out, vipo_error *error);
} vipo_report_form;

extern const vipo_report_form vipo_report_form_markdown, vipo_report_form_html, vipo_report_form_json,
    vipo_report_form_csv, vipo_report_form_eval_info;

/* ---- shared by the forms ---- */

enum { VIPO_CELL = 64 };
/* "82.3 % [78.1, 85.9]", "" without episodes. */
void vipo_format_rate(const vipo_tally *tally, char out[VIPO_CELL]);
/* "0.0231", "1.2e-07"; "-" for NAN. */
void vipo_format_number(double value, const char *format, char out[VIPO_CELL]);

/* The tables, in whatever form: a title, the names of columns, then rows. */
typedef struct vipo_table {
    const char *title, *note; /* note may be NULL */
    int rows, columns;
    /* Row -1 are the names of the columns. */
    void (*cell)(const vipo_report *report, int row, int column, char out[VIPO_SETTINGS_LABEL + 160]);
} vipo_table;
enum { VIPO_REPORT_TABLES = 7, VIPO_TABLE_CELL = VIPO_SETTINGS_LABEL + 160 };
/* The i-th; rows 0: nothing to show. */
void vipo_report_table(const vipo_report *report, int i, vipo_table *out);

/* ---- report_plots.c: drawings as SVG ---- */

void vipo_plot_success(const vipo_report *report, vipo_text *out);
void vipo_plot_acceptance(const vipo_report *report, vipo_text *out);
void vipo_plot_time(const vipo_report *report, vipo_text *out);
void vipo_plot_success_by_time(const vipo_report *report, vipo_text *out);

#endif
