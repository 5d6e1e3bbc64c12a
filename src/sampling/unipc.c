/* UniPC (Zhao et al. 2023) with data prediction and B(h) = exp(h) - 1, orders 2 and 3: a multistep predictor, and a
 * corrector of the same order that reuses the next step's network output. With l = ln(alpha/sigma), h = l' - l and
 * differences D_k = (x0_k - x0) / r_k of earlier predictions at r_k = (l_k - l) / h:
 *   x' = (sigma'/sigma) x + alpha' E (x0 + sum_k rho_k D_k),  E = 1 - exp(-h).
 * The rho solve sum_k rho_k r_k^(j-1) = b_j, j = 1.. (order conditions); the corrector adds the new prediction as r = 1.
 * Orders grow 1, 2, .. p at the start; the step to the clean video is of first order and is not corrected. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sampling/grid.h"

enum { MAX_ORDER = 3 };

static int order_of(const vipo_sampler_options *options)
{
    return options->order ? options->order : 2;
}

/* Solves the n x n Vandermonde system sum_k rho_k r_k^(j-1) = b_j by elimination with pivoting. */
static void solve(int n, const double *r, const double *b, double *rho)
{
    double a[MAX_ORDER][MAX_ORDER + 1];
    for (int j = 0; j < n; j++) {
        for (int k = 0; k < n; k++) a[j][k] = j == 0 ? 1 : a[j - 1][k] * r[k];
        a[j][n] = b[j];
    }
    for (int c = 0; c < n; c++) {
        int best = c;
        for (int j = c + 1; j < n; j++)
            if (fabs(a[j][c]) > fabs(a[best][c])) best = j;
        for (int k = 0; k <= n; k++) {
            const double swap = a[c][k];
            a[c][k] = a[best][k];
            a[best][k] = swap;
        }
        for (int j = 0; j < n; j++) {
            if (j == c) continue;
            const double factor = a[j][c] / a[c][c];
            for (int k = c; k <= n; k++) a[j][k] -= factor * a[c][k];
        }
    }
    for (int k = 0; k < n; k++) rho[k] = a[k][n] / a[k][k];
}

/* One update from lambda[0] (newest known) by h, with `order` known predictions x0[0], x0[1], ... and, for the corrector,
 * the new one. Weights of the predictions come out in w[0..order-1], the new one's in *w_new. */
typedef struct update {
    double of_x;         /* sigma' / sigma */
    double w[MAX_ORDER]; /* of x0[k] */
    double w_new;
} update;

static update make_update(const vipo_schedule *schedule, int t, int next, int order, const double *lambda,
                          double lambda_next, bool corrector)
{
    const double h = lambda_next - lambda[0], alpha_next = vipo_schedule_alpha(schedule, next);
    const double e = -expm1(-h);
    /* b_j = j! phi_j(-h) / B with the recursion phi_{j+1} = phi_j / (-h) - 1 / j! */
    double b[MAX_ORDER], r[MAX_ORDER], rho[MAX_ORDER] = {0};
    double phi = expm1(-h) / -h - 1, factorial = 1;
    for (int j = 0; j < order; j++) {
        b[j] = phi * factorial / expm1(-h);
        factorial *= j + 2;
        phi = phi / -h - 1 / factorial;
    }
    for (int k = 1; k < order; k++) r[k - 1] = (lambda[k] - lambda[0]) / h;
    r[order - 1] = 1;
    if (corrector) {
        if (order == 1)
            rho[0] = 0.5;
        else
            solve(order, r, b, rho);
    } else if (order == 2) {
        rho[0] = 0.5; /* the simplification of the published method */
    } else if (order > 2) {
        solve(order - 1, r, b, rho);
    }
    update u = {.of_x = vipo_schedule_sigma(schedule, next) / vipo_schedule_sigma(schedule, t)};
    u.w[0] = alpha_next * e;
    for (int k = 1; k < order; k++) {
        u.w[k] = alpha_next * e * rho[k - 1] / r[k - 1];
        u.w[0] -= u.w[k];
    }
    if (corrector) {
        u.w_new = alpha_next * e * rho[order - 1];
        u.w[0] -= u.w_new;
    }
    return u;
}

/* out = of_x x + sum_k w_k x0[k] (+ w_new x0_new) */
static void apply(const update *u, int order, size_t n, const float *x, float *const *x0, const float *x0_new,
                  float *out)
{
    for (size_t j = 0; j < n; j++) {
        double sum = u->of_x * (double)x[j];
        for (int k = 0; k < order; k++) sum += u->w[k] * (double)x0[k][j];
        if (x0_new) sum += u->w_new * (double)x0_new[j];
        out[j] = (float)sum;
    }
}

/* Order of the step that leaves place i of the grid (not the one to the clean video). */
static int order_at(const vipo_sampler_options *options, int i)
{
    return i + 1 < order_of(options) ? i + 1 : order_of(options);
}

static void step(vipo_sampling *sampling, const vipo_grid *grid, int i)
{
    const vipo_schedule *schedule = sampling->schedule;
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    const int t = grid->times[i], next = grid->times[i + 1];
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    float *x = sampling->x, *v = sampling->memory, *before = v + n;
    /* Predictions take turns in MAX_ORDER + 1 places; newest first. */
    float *x0[MAX_ORDER + 1];
    double lambda[MAX_ORDER + 1];
    for (int k = 0; k <= MAX_ORDER && k <= i; k++) {
        x0[k] = before + (size_t)(1 + (i - k) % (MAX_ORDER + 1)) * n;
        lambda[k] = vipo_schedule_log_snr_half(schedule, grid->times[i - k]);
    }
    for (size_t j = 0; j < n; j++) x0[0][j] = (float)(alpha * (double)x[j] - sigma * (double)v[j]);
    if (i > 0) {
        const int order = order_at(sampling->options, i - 1);
        const update corrector =
            make_update(schedule, grid->times[i - 1], t, order, lambda + 1, lambda[0], true);
        apply(&corrector, order, n, before, x0 + 1, x0[0], x);
    }
    if (next < 0) {
        memcpy(x, x0[0], n * sizeof *x);
        return;
    }
    const int order = order_at(sampling->options, i);
    const update predictor =
        make_update(schedule, t, next, order, lambda, vipo_schedule_log_snr_half(schedule, next), false);
    memcpy(before, x, n * sizeof *x);
    apply(&predictor, order, n, before, x0, NULL, x);
}

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    (void)schedule;
    if (order_of(options) < 2 || order_of(options) > MAX_ORDER)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unipc order: %d, expected 2 or 3", options->order);
    return VIPO_OK;
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    (void)schedule;
    snprintf(text, size, "unipc%d", order_of(options));
}

static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.5};

const vipo_sampler vipo_sampler_unipc = {.name = "unipc",
                                         .summary = "UniPC predictor-corrector of --order 2 or 3",
                                         .check = check,
                                         .describe = describe,
                                         .states = 2 + MAX_ORDER + 1, /* v, x before the step, predictions */
                                         .grid = &defaults,
                                         .step = step};
