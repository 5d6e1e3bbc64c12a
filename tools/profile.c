#include "profile.h"

#include <stdlib.h>
#include <string.h>

void profile_open(profile *p, int calls)
{
    *p = (profile){.calls = calls};
}

void profile_close(profile *p)
{
    for (int i = 0; i < p->count; i++) free(p->rows[i].seconds);
    free(p->rows);
    *p = (profile){.calls = 0};
}

void profile_begin_call(profile *p)
{
    p->begun++;
    p->next = 0;
}

void profile_visit(void *user, const vipo_operation *operation)
{
    profile *const p = user;
    const int i = p->next++;
    if (p->failed) return;
    if (i == p->room) {
        const int room = p->room ? 2 * p->room : 256;
        profile_row *const rows = realloc(p->rows, (size_t)room * sizeof *rows);
        if (!rows) {
            p->failed = true;
            return;
        }
        p->rows = rows;
        p->room = room;
    }
    if (i == p->count) {
        p->rows[i] = (profile_row){*operation, calloc((size_t)p->calls, sizeof(double))};
        p->count++;
    }
    if (p->rows[i].seconds)
        p->rows[i].seconds[p->begun - 1] = operation->seconds;
    else
        p->failed = true;
}

int profile_finish(tool *t, profile *p)
{
    if (p->failed) return tool_fail(t, "out of memory for the profile");
    for (int i = 0; i < p->count; i++) p->rows[i].operation.seconds = median(p->rows[i].seconds, p->begun);
    return STATUS_DONE;
}

/* ---- sums -------------------------------------------------------------------------------------------- */

typedef struct part {
    const vipo_operation *first; /* stands for all of the part */
    int operations;
    double seconds, macs, products;
} part;

enum { MAX_PARTS = 64 };

typedef struct parts {
    part all[MAX_PARTS];
    int count;
} parts;

/* Vectors, which belong to no level, are the only ones of op linear. */
static bool is_vector(const vipo_operation *o)
{
    return strcmp(o->op, "linear") == 0;
}

static bool same_level(const vipo_operation *a, const vipo_operation *b)
{
    return is_vector(a) == is_vector(b) && a->height == b->height && a->width == b->width;
}

static bool same_kind(const vipo_operation *a, const vipo_operation *b)
{
    return strcmp(a->op, b->op) == 0 && strcmp(a->kind, b->kind) == 0 && strcmp(a->method, b->method) == 0 &&
           a->half == b->half;
}

static int by_size(const void *a, const void *b)
{
    const vipo_operation *const x = ((const part *)a)->first, *const y = ((const part *)b)->first;
    if (is_vector(x) != is_vector(y)) return is_vector(x) ? 1 : -1;
    return y->height * y->width - x->height * x->width;
}

static int by_seconds(const void *a, const void *b)
{
    const double x = ((const part *)a)->seconds, y = ((const part *)b)->seconds;
    return (x < y) - (x > y);
}

static void add(part *sum, const vipo_operation *o)
{
    sum->operations++;
    sum->seconds += o->seconds;
    sum->macs += o->macs;
    sum->products += o->products;
}

/* Operations put together if `same`; what there is no room for goes to the last part. */
static void sum_parts(const profile *p, bool (*same)(const vipo_operation *, const vipo_operation *),
                      int (*order)(const void *, const void *), parts *out)
{
    out->count = 0;
    for (int i = 0; i < p->count; i++) {
        const vipo_operation *const o = &p->rows[i].operation;
        int k = 0;
        while (k < out->count && !same(out->all[k].first, o)) k++;
        if (k == out->count && k < MAX_PARTS) out->all[out->count++] = (part){.first = o};
        add(&out->all[k < MAX_PARTS ? k : MAX_PARTS - 1], o);
    }
    qsort(out->all, (size_t)out->count, sizeof out->all[0], order);
}

static part sum_all(const profile *p)
{
    part all = {.first = NULL};
    for (int i = 0; i < p->count; i++) add(&all, &p->rows[i].operation);
    return all;
}

double profile_macs(const profile *p)
{
    return sum_all(p).macs;
}

static void level_name(const part *level, char *out, size_t size)
{
    if (is_vector(level->first))
        snprintf(out, size, "vectors");
    else
        snprintf(out, size, "%dx%d", level->first->height, level->first->width);
}

static void kind_name(const part *kind, char *out, size_t size)
{
    const vipo_operation *const o = kind->first;
    const bool plain = is_vector(o) || !*o->kind, usual = !*o->method || strcmp(o->method, "direct") == 0;
    snprintf(out, size, "%s%s%s%s%s%s", o->op, plain ? "" : " ", plain ? "" : o->kind, usual ? "" : " ",
             usual ? "" : o->method, o->half ? " half" : "");
}

/* ---- tables ------------------------------------------------------------------------------------------ */

static void print_header(const profile *p, const char *title)
{
    printf("%-28s %6s %10s %8s", title, "calls", "ms", "share");
    printf(p->peak > 0 ? " %9s %9s %10s\n" : " %9s\n", "GFLOP/s", "of peak", "real");
}

static void print_part(const profile *p, const char *name, const part *sum, double seconds)
{
    const double rate = sum->seconds > 0 ? 2e-9 * sum->macs / sum->seconds : 0,
                 real = sum->seconds > 0 ? 2e-9 * sum->products / sum->seconds : 0;
    printf("%-28s %6d %10.3f %6.1f %%", name, sum->operations, 1e3 * sum->seconds,
           seconds > 0 ? 100 * sum->seconds / seconds : 0);
    if (!(rate > 0))
        printf(p->peak > 0 ? " %9s %9s %10s" : " %9s", "-", "-", "-");
    else if (p->peak > 0)
        printf(" %9.1f %7.1f %% %8.1f %%", rate, 100 * rate / p->peak, 100 * real / p->peak);
    else
        printf(" %9.1f", rate);
    printf("\n");
}

void profile_print(const profile *p)
{
    const part all = sum_all(p);
    parts sums;
    char name[80];
    if (p->peak > 0) printf("peak of multiply-adds on this machine: %.1f GFLOP/s\n", p->peak);
    sum_parts(p, same_level, by_size, &sums);
    print_header(p, "level");
    for (int i = 0; i < sums.count; i++) {
        level_name(&sums.all[i], name, sizeof name);
        print_part(p, name, &sums.all[i], all.seconds);
    }
    sum_parts(p, same_kind, by_seconds, &sums);
    print_header(p, "operation");
    for (int i = 0; i < sums.count; i++) {
        kind_name(&sums.all[i], name, sizeof name);
        print_part(p, name, &sums.all[i], all.seconds);
    }
    print_part(p, "sum", &all, all.seconds);
}

static void describe_part(json_t *out, const profile *p, const part *sum, double seconds)
{
    json_object_set_new(out, "calls", json_integer(sum->operations));
    json_object_set_new(out, "seconds", json_number(sum->seconds));
    json_object_set_new(out, "share", json_number(sum->seconds / seconds));
    json_object_set_new(out, "macs", json_number(sum->macs));
    json_object_set_new(out, "products", json_number(sum->products));
    json_object_set_new(out, "gflops", json_number(2e-9 * sum->macs / sum->seconds));
    json_object_set_new(out, "peak_share", json_number(2e-9 * sum->macs / sum->seconds / p->peak));
    json_object_set_new(out, "product_peak_share",
                        json_number(2e-9 * sum->products / sum->seconds / p->peak));
}

json_t *profile_json(const profile *p)
{
    const part all = sum_all(p);
    parts sums;
    json_t *const out = json_object(), *const levels = json_array(), *const kinds = json_array(),
                  *const total = json_object();
    sum_parts(p, same_level, by_size, &sums);
    for (int i = 0; i < sums.count; i++) {
        const vipo_operation *const o = sums.all[i].first;
        json_t *const level = json_object();
        json_object_set_new(level, "height", is_vector(o) ? json_null() : json_integer(o->height));
        json_object_set_new(level, "width", is_vector(o) ? json_null() : json_integer(o->width));
        describe_part(level, p, &sums.all[i], all.seconds);
        json_array_append_new(levels, level);
    }
    sum_parts(p, same_kind, by_seconds, &sums);
    for (int i = 0; i < sums.count; i++) {
        const vipo_operation *const o = sums.all[i].first;
        json_t *const kind = json_object();
        json_object_set_new(kind, "op", json_text(o->op));
        json_object_set_new(kind, "kind", json_text(o->kind));
        json_object_set_new(kind, "method", json_text(o->method));
        json_object_set_new(kind, "half", json_boolean(o->half));
        describe_part(kind, p, &sums.all[i], all.seconds);
        json_array_append_new(kinds, kind);
    }
    describe_part(total, p, &all, all.seconds);
    json_object_set_new(out, "peak_gflops", p->peak > 0 ? json_number(p->peak) : json_null());
    json_object_set_new(out, "levels", levels);
    json_object_set_new(out, "operations", kinds);
    json_object_set_new(out, "sum", total);
    return out;
}

/* ---- file -------------------------------------------------------------------------------------------- */

vipo_status profile_write(const profile *p, const session *s, const char *path, vipo_error *error)
{
    static const char header[] = "name,op,kind,method,half,rows,frames,height,width,in_channels,out_channels,"
                                 "skip_channels,macs,products,seconds,compute,threads,peak_gflops\n";
    vipo_output *file = NULL;
    vipo_status status = vipo_output_open(&file, path, error);
    if (status == VIPO_OK) status = vipo_output_write(file, header, sizeof header - 1, error);
    for (int i = 0; i < p->count && status == VIPO_OK; i++) {
        const vipo_operation *const o = &p->rows[i].operation;
        char line[512];
        const int n =
            snprintf(line, sizeof line, "%.96s,%s,%s,%s,%d,%d,%d,%d,%d,%d,%d,%d,%.0f,%.0f,%.9f,%s,%d,%.1f\n",
                     o->name, o->op, o->kind, o->method, o->half, o->rows, o->frames, o->height, o->width,
                     o->in_channels, o->out_channels, o->skip_channels, o->macs, o->products, o->seconds,
                     vipo_model_compute(s->model), s->threads, p->peak);
        status = vipo_output_write(file, line, (size_t)n, error);
    }
    if (status == VIPO_OK) status = vipo_output_commit(&file, error);
    vipo_output_abandon(&file);
    return status;
}
