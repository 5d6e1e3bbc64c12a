/* checkop: tests or times op tables on shapes. Without --shape-file or --shape: every file it is given. */
#include <stdlib.h>
#include <string.h>

#include "checkop/checkop.h"

static const char usage[] =
    "usage: checkop [options] [--shape-file FILE | --shape 'TEXT']...\n"
    "  --bench         time the tables instead of testing them\n"
    "  --table NAME    only this table (and with --bench without ref)\n"
    "  --op NAME       only shapes of this op\n"
    "  --threads N     of --bench; 0: all cores (default)\n"
    "  --seconds S     of --bench for each shape and table (default 0.3)\n"
    "  --input CLASS   normal (default), constant, huge, denormal, offset\n"
    "  --seed N        of the inputs (default 1)\n"
    "  --macs N        testing: reduce frames and sizes to N multiply-adds (default 4e7; 0: never)\n";

struct options {
    bool bench;
    const char *table, *op;
    int threads;
    double seconds, macs;
    checkop_input input;
    unsigned long long seed;
};

static bool append(checkop_shape **shapes, int *n, checkop_shape *more, int n_more, const char *op)
{
    checkop_shape *all = realloc(*shapes, (size_t)(*n + n_more) * sizeof *all);
    if (!all) abort();
    *shapes = all;
    for (int i = 0; i < n_more; i++)
        if (!op || strcmp(op, checkop_op_name(more[i].op)) == 0) all[(*n)++] = more[i];
    return true;
}

static int test(const struct options *options, const checkop_shape *shapes, int n,
                const vipo_ops *const *tables)
{
    checkop_context context;
    int failures = 0, calls = 0;
    if (!checkop_context_open(&context, options->seed)) return 1;
    for (int s = 0; s < n; s++) {
        checkop_shape shape = shapes[s];
        if (options->macs > 0) checkop_shape_reduce(&shape, options->macs);
        for (int t = 0; tables[t]; t++, calls++)
            failures += checkop_check(&context, &shape, options->input, tables[t]);
    }
    checkop_context_close(&context);
    printf("%d of %d checks failed; largest relative L2 %.2e\n", failures, calls, context.worst);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options options = {.seconds = 0.3, .macs = 4e7, .seed = 1};
    checkop_shape *shapes = NULL;
    int n = 0;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--bench") == 0) {
            options.bench = true;
            continue;
        }
        i++;
        if (strcmp(name, "--table") == 0) {
            options.table = value;
        } else if (strcmp(name, "--op") == 0) {
            options.op = value;
        } else if (strcmp(name, "--threads") == 0) {
            options.threads = (int)strtol(value, NULL, 10);
        } else if (strcmp(name, "--seconds") == 0) {
            options.seconds = strtod(value, NULL);
        } else if (strcmp(name, "--macs") == 0) {
            options.macs = strtod(value, NULL);
        } else if (strcmp(name, "--seed") == 0) {
            options.seed = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--input") == 0) {
            int input = 0;
            while (input < CHECKOP_INPUTS && strcmp(value, checkop_input_name((checkop_input)input)) != 0)
                input++;
            if (input == CHECKOP_INPUTS) goto wrong;
            options.input = (checkop_input)input;
        } else if (strcmp(name, "--shape") == 0) {
            checkop_shape shape;
            char message[600];
            if (!checkop_shape_parse(&shape, value, message, sizeof message)) {
                fprintf(stderr, "checkop: %s\n", message);
                goto wrong;
            }
            append(&shapes, &n, &shape, 1, options.op);
        } else if (strcmp(name, "--shape-file") == 0) {
            int more = 0;
            checkop_shape *read = checkop_shapes_read(value, &more);
            if (!read) goto wrong;
            append(&shapes, &n, read, more, options.op);
            free(read);
        } else {
            goto wrong;
        }
    }
    const vipo_ops *tables[8] = {NULL};
    for (int i = 0, found = 0; vipo_ops_available(i) && found < 7; i++)
        if (!options.table || strcmp(options.table, vipo_ops_available(i)->name) == 0)
            tables[found++] = vipo_ops_available(i);
    if (n == 0 || !tables[0]) goto wrong;
    int status = 0;
    if (options.bench) {
        vipo_pool *pool;
        vipo_error error;
        if (vipo_pool_open(&pool, options.threads, &error) != VIPO_OK) {
            fprintf(stderr, "checkop: %s\n", error.message);
            goto wrong;
        }
        checkop_bench(shapes, n, tables, pool, options.seconds);
        vipo_pool_close(&pool);
    } else {
        status = test(&options, shapes, n, tables);
    }
    free(shapes);
    return status;
wrong:
    fputs(usage, stderr);
    free(shapes);
    return 2;
}
