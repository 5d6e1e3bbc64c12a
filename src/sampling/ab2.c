/* Second-order Adams-Bashforth steps of the exact flow in the angle form: with phi = atan2(sigma, alpha) the flow is
 * dx/dphi = v, and for constant x0 a step is a rotation by h = phi' - phi:
 *   x' = cos(h) x + sin(h) v + correction.
 * Form x0 lets x0 change linearly with phi, at the rate c = (x0 - x0_prev) / (phi - phi_prev):
 *   correction = c (h cos phi' - sin phi' ln(sin phi' / sin phi)), at phi' = 0: c h.
 * Form r takes r = (v + sin(h_prev) x_prev - cos(h_prev) v_prev) / sin(h_prev), the part of dv/dphi that a rotation
 * does not explain:
 *   correction = (1 - cos h) r.
 * The first step has no correction. */
#include <math.h>
#include <stdio.h>

#include "sampling/grid.h"

/* The angles of a step and of the one before it (meaningless at the first step). */
typedef struct angles {
    double phi, next, previous;
    bool first;
} angles;

/* What multiplies c: h at phi' = 0. */
static double x0_bracket(const angles *a)
{
    const double h = a->next - a->phi;
    return a->next <= 0 ? h : h * cos(a->next) - sin(a->next) * log(sin(a->next) / sin(a->phi));
}

static void step_x0(const angles *a, size_t n, float *x, const float *v, float *x0_previous)
{
    const double h = a->next - a->phi, bracket = a->first ? 0 : x0_bracket(a) / (a->phi - a->previous);
    for (size_t j = 0; j < n; j++) {
        const double x0 = cos(a->phi) * (double)x[j] - sin(a->phi) * (double)v[j];
        const double change = x0 - (double)x0_previous[j];
        x[j] = (float)(cos(h) * (double)x[j] + sin(h) * (double)v[j] + bracket * change);
        x0_previous[j] = (float)x0;
    }
}

static void step_r(const angles *a, size_t n, float *x, const float *v, float *x_previous, float *v_previous)
{
    const double h = a->next - a->phi, back = a->phi - a->previous;
    const double factor = a->first ? 0 : (1 - cos(h)) / sin(back);
    for (size_t j = 0; j < n; j++) {
        const double now = (double)x[j];
        const double r = (double)v[j] + sin(back) * (double)x_previous[j] - cos(back) * (double)v_previous[j];
        x[j] = (float)(cos(h) * now + sin(h) * (double)v[j] + factor * r);
        x_previous[j] = (float)now;
        v_previous[j] = v[j];
    }
}

static void step(vipo_sampling *sampling, const vipo_grid *grid, int i)
{
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    float *v = sampling->memory, *previous = v + n, *v_previous = previous + n;
    const angles a = {.phi = vipo_schedule_angle(sampling->schedule, grid->times[i]),
                      .next = vipo_schedule_angle(sampling->schedule, grid->times[i + 1]),
                      .previous = i > 0 ? vipo_schedule_angle(sampling->schedule, grid->times[i - 1]) : 0,
                      .first = i == 0};
    if (sampling->options->form == VIPO_AB2_R)
        step_r(&a, n, sampling->x, v, previous, v_previous);
    else
        step_x0(&a, n, sampling->x, v, previous);
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    (void)schedule;
    snprintf(text, size, options->form == VIPO_AB2_R ? "ab2-r" : "ab2");
}

static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.15};

const vipo_sampler vipo_sampler_ab2 = {.name = "ab2",
                                       .summary = "two-step Adams-Bashforth in the angle form",
                                       .describe = describe,
                                       .states = 3, /* v, previous x (or x0), previous v */
                                       .grid = &defaults,
                                       .step = step};
