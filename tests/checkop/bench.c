#include "checkop/checkop.h"

#include <stdlib.h>

#include "compute/peak.h"
#include "core/clock.h"
#include "core/memory.h"

/* Shortest time of a call in `seconds` of trying; at least three calls. */
static double shortest(checkop_call *call, double seconds)
{
    double best = 1e30, total = 0;
    checkop_call_run(call);
    for (int i = 0; i < 3 || total < seconds; i++) {
        const double start = vipo_clock_seconds();
        checkop_call_run(call);
        const double time = vipo_clock_seconds() - start;
        total += time;
        if (time < best) best = time;
        if (total > 20 * seconds) break;
    }
    return best;
}

void checkop_bench(const checkop_shape *shapes, int n, const vipo_ops *const *tables, vipo_pool *pool,
                   double seconds)
{
    enum { MAX_TABLES = 8 };
    double sum[MAX_TABLES] = {0}, by_op[MAX_TABLES][CHECKOP_OPS] = {{0}};
    for (int s = 0; s < n; s++) {
        char line[512];
        checkop_shape_print(&shapes[s], line, sizeof line);
        printf("%s\n", line);
        checkop_problem *p = checkop_problem_open(&shapes[s], INPUT_NORMAL, 1);
        float *out[CHECKOP_OUTPUTS] = {NULL};
        for (int o = 0; o < p->outputs; o++) {
            out[o] = vipo_aligned_calloc(p->output_floats[o] * (size_t)p->items, sizeof(float));
            if (!out[o]) abort();
        }
        const double flops = 2 * checkop_shape_macs(&shapes[s]);
        for (int t = 0; tables[t] && t < MAX_TABLES; t++) {
            checkop_call call;
            checkop_call_open(&call, p, tables[t], pool, 0, p->items, out);
            const double peak = vipo_peak_measure(pool, tables[t]);
            const double time = shortest(&call, tables[t] == &vipo_ops_ref ? 0 : seconds);
            const double after = vipo_peak_measure(pool, tables[t]);
            checkop_call_close(&call);
            const double rate = flops / time * 1e-9, top = peak > after ? peak : after;
            printf("  %-8s %10.3f ms %8.1f GFLOP/s", tables[t]->name, time * 1e3, rate);
            if (top > 0) printf(" %5.1f %% of FMA peak %.0f", 100 * rate / top, top);
            printf("\n");
            sum[t] += time * shapes[s].v[KEY_COUNT];
            by_op[t][shapes[s].op] += time * shapes[s].v[KEY_COUNT];
        }
        fflush(stdout);
        for (int o = 0; o < p->outputs; o++) vipo_aligned_free(out[o]);
        checkop_problem_close(&p);
    }
    for (int t = 0; tables[t] && t < MAX_TABLES; t++) {
        printf("sum of time x count, %s: %.2f ms (", tables[t]->name, sum[t] * 1e3);
        for (int o = 0, first = 1; o < CHECKOP_OPS; o++)
            if (by_op[t][o] > 0) {
                printf("%s%s %.2f", first ? "" : ", ", checkop_op_name((checkop_op)o), by_op[t][o] * 1e3);
                first = 0;
            }
        printf(")\n");
    }
}
