/* Second-order Adams-Bashforth steps of the exact flow in the angle form: with phi = atan2(sigma, alpha) the flow is
 * dx/dphi = v, and for constant x0 a step is a rotation by h = phi' - phi, which is DDIM's:
 *   x' = cos(h) x + sin(h) v + correction.
 * Form x0 lets x0 change linearly with phi, at the rate c = (x0 - x0_prev) / (phi - phi_prev):
 *   correction = c (h cos phi' - sin phi' ln(sin phi' / sin phi)), at phi' = 0: c h.
 * Form r takes r = (v + sin(h_prev) x_prev - cos(h_prev) v_prev) / sin(h_prev), the part of dv/dphi that a rotation
 * does not explain:
 *   correction = (1 - cos h) r.
 * The first step has no correction. Where there is one, its size is the embedded estimate of the step's error: what the
 * second order differs from the first by. A video whose correction is larger than `fallback` goes on without it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "sampling/grid.h"

/* What multiplies c in form x0: h at phi' = 0. */
static double bracket(double phi, double next)
{
    const double h = next - phi;
    return next <= 0 ? h : h * cos(next) - sin(next) * log(sin(next) / sin(phi));
}

/* A video at a step. */
typedef struct place {
    double phi, next, back; /* back: phi - phi_prev */
    float *x, *v;
    float *previous; /* x0 (form x0) or x (form r) at the step before */
    float *
        v_previous; /* form r: v at the step before; then, as in form x0 from the start: what is to be corrected */
} place;

/* x0 - x0_prev (form x0) or sin(h_prev) r (form r) into v_previous; returns its sum of squares. */
static double take_change(const place *p, vipo_ab2_form form, size_t n)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        double change;
        if (form == VIPO_AB2_X0) {
            const double x0 = cos(p->phi) * (double)p->x[j] - sin(p->phi) * (double)p->v[j];
            change = x0 - (double)p->previous[j];
            p->previous[j] = (float)x0;
        } else {
            change = (double)p->v[j] + sin(p->back) * (double)p->previous[j] -
                     cos(p->back) * (double)p->v_previous[j];
        }
        p->v_previous[j] = (float)change;
        sum += change * change;
    }
    return sum;
}

static void apply(const place *p, double factor, size_t n)
{
    const double h = p->next - p->phi;
    for (size_t j = 0; j < n; j++)
        p->x[j] =
            (float)(cos(h) * (double)p->x[j] + sin(h) * (double)p->v[j] + factor * (double)p->v_previous[j]);
}

static void step(vipo_sampling *sampling, const vipo_grid *grid, int i)
{
    const vipo_schedule *schedule = sampling->schedule;
    const vipo_ab2_form form = sampling->options->form;
    const double fallback = sampling->options->fallback;
    const size_t dim = sampling->denoiser->dim, n = (size_t)sampling->videos * dim;
    const int t = grid->times[i], next = grid->times[i + 1];
    place p = {.phi = vipo_schedule_angle(schedule, t), .next = vipo_schedule_angle(schedule, next)};
    if (i > 0) p.back = p.phi - vipo_schedule_angle(schedule, grid->times[i - 1]);
    double squares = 0;
    for (int video = 0; video < sampling->videos; video++) {
        const size_t at = (size_t)video * dim;
        p.x = sampling->x + at;
        p.v = sampling->memory + at;
        p.previous = sampling->memory + n + at;
        p.v_previous = sampling->memory + 2 * n + at;
        const double changed = take_change(&p, form, dim);
        const double factor = i == 0                ? 0
                              : form == VIPO_AB2_X0 ? bracket(p.phi, p.next) / p.back
                                                    : (1 - cos(p.next - p.phi)) / sin(p.back);
        const double error = fabs(factor) * sqrt(changed / (double)dim);
        const bool first_order = i == 0 || (fallback > 0 && error > fallback);
        squares += error * error;
        if (form == VIPO_AB2_R) memcpy(p.previous, p.x, dim * sizeof *p.x);
        if (first_order)
            vipo_ddim_step(schedule, t, next, dim, p.x, p.v, p.x);
        else
            apply(&p, factor, dim);
        if (form == VIPO_AB2_R) memcpy(p.v_previous, p.v, dim * sizeof *p.v);
        if (first_order && i > 0) sampling->stats.fallbacks++;
    }
    if (i > 0) sampling->step_error = sqrt(squares / sampling->videos);
}

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    (void)schedule;
    if (!(options->fallback >= 0) || isinf(options->fallback))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "fallback: %g, expected 0 (never) or more",
                         options->fallback);
    return VIPO_OK;
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    (void)schedule;
    snprintf(text, size, options->form == VIPO_AB2_R ? "ab2-r" : "ab2");
}

static void describe_rest(const vipo_sampler_options *options, char *text, size_t size)
{
    if (options->fallback > 0) vipo_snprintf(text, size, " fallback=%g", options->fallback);
}

static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.15};

const vipo_sampler vipo_sampler_ab2 = {.name = "ab2",
                                       .summary = "two-step Adams-Bashforth in the angle form",
                                       .check = check,
                                       .describe = describe,
                                       .describe_rest = describe_rest,
                                       .states = 3, /* v, previous x (or x0), previous v or the change */
                                       .grid = &defaults,
                                       .step = step};
