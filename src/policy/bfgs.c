#include "policy/bfgs.h"

#include <math.h>
#include <string.h>

enum { MAX = VIPO_BFGS_MAX };

static const double difference_step = 1.4901161193847656e-8; /* sqrt of the machine's epsilon */
static const double sufficient = 1e-4, curvature = 0.9;      /* Wolfe's constants */

/* A point on the line x + alpha p, with slope = p . gradient. */
struct trial {
    double alpha, value, slope;
    double x[MAX], gradient[MAX];
};

struct search {
    const vipo_bfgs_problem *problem;
    vipo_bfgs_result *result;
    const double *direction;
    struct trial start;
};

static double value_at(const struct search *s, const double *x)
{
    s->result->evaluations++;
    return s->problem->value(s->problem->user, x);
}

static void differentiate(const struct search *s, struct trial *at)
{
    double x[MAX];
    memcpy(x, at->x, sizeof x);
    at->slope = 0;
    for (int i = 0; i < s->problem->n; i++) {
        x[i] = at->x[i] + difference_step;
        const double step = x[i] - at->x[i]; /* as rounded */
        at->gradient[i] = (value_at(s, x) - at->value) / step;
        x[i] = at->x[i];
        at->slope += s->direction ? at->gradient[i] * s->direction[i] : 0;
    }
}

static void evaluate(const struct search *s, double alpha, struct trial *out)
{
    *out = s->start;
    out->alpha = alpha;
    for (int i = 0; i < s->problem->n; i++) out->x[i] += alpha * s->direction[i];
    out->value = value_at(s, out->x);
    differentiate(s, out);
}

static bool too_high(const struct search *s, const struct trial *t)
{
    return !(t->value <= s->start.value + sufficient * t->alpha * s->start.slope);
}
static bool flat_enough(const struct search *s, const struct trial *t)
{
    return fabs(t->slope) <= -curvature * s->start.slope;
}

/* Minimum of the cubic through values and slopes at a and b, kept well inside; the middle if it has none. */
static double cubic_minimum(const struct trial *a, const struct trial *b)
{
    const double width = b->alpha - a->alpha, low = fmin(a->alpha, b->alpha), high = fmax(a->alpha, b->alpha);
    const double d1 = a->slope + b->slope - 3 * (a->value - b->value) / (a->alpha - b->alpha);
    const double inside = d1 * d1 - a->slope * b->slope;
    const double d2 = copysign(sqrt(fmax(inside, 0)), width);
    const double alpha = b->alpha - width * ((b->slope + d2 - d1) / (b->slope - a->slope + 2 * d2));
    const double margin = 0.1 * fabs(width);
    return inside >= 0 && alpha >= low + margin && alpha <= high - margin ? alpha : a->alpha + width / 2;
}

/* Algorithm 3.6: between `low`, the best so far, and `high`. */
static bool zoom(const struct search *s, struct trial low, struct trial high, struct trial *out)
{
    for (int i = 0; i < 30; i++) {
        struct trial t;
        evaluate(s, cubic_minimum(&low, &high), &t);
        if (too_high(s, &t) || t.value >= low.value) {
            high = t;
        } else {
            if (flat_enough(s, &t)) {
                *out = t;
                return true;
            }
            if (t.slope * (high.alpha - low.alpha) >= 0) high = low;
            low = t;
        }
        if (fabs(high.alpha - low.alpha) <= 1e-14 * fmax(1, fabs(low.alpha))) break;
    }
    *out = low;
    return false;
}

/* Algorithm 3.5. False: *out is the best point seen, perhaps the start. */
static bool search_line(const struct search *s, double alpha, struct trial *out)
{
    struct trial before = s->start, t;
    before.alpha = 0;
    for (int i = 0; i < 40; i++) {
        evaluate(s, alpha, &t);
        if (too_high(s, &t) || (i > 0 && t.value >= before.value)) return zoom(s, before, t, out);
        if (flat_enough(s, &t)) {
            *out = t;
            return true;
        }
        if (t.slope >= 0) return zoom(s, t, before, out);
        before = t;
        alpha *= 2;
    }
    *out = before;
    return false;
}

/* h <- (I - s y'/ys) h (I - y s'/ys) + s s'/ys */
static void update(int n, const double *s, const double *y, double h[MAX][MAX])
{
    double ys = 0, yhy = 0, hy[MAX];
    for (int i = 0; i < n; i++) {
        hy[i] = 0;
        for (int j = 0; j < n; j++) hy[i] += h[i][j] * y[j];
        ys += y[i] * s[i];
        yhy += y[i] * hy[i];
    }
    if (!(ys > 0)) return;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            h[i][j] += (1 + yhy / ys) * s[i] * s[j] / ys - (hy[i] * s[j] + s[i] * hy[j]) / ys;
}

void vipo_bfgs_minimize(const vipo_bfgs_problem *problem, double *x, vipo_bfgs_result *out)
{
    const int n = problem->n;
    double h[MAX][MAX] = {{0}}, direction[MAX];
    struct search s = {.problem = problem, .result = out};
    *out = (vipo_bfgs_result){0};
    memcpy(s.start.x, x, (size_t)n * sizeof *x);
    s.start.value = value_at(&s, s.start.x);
    differentiate(&s, &s.start);
    double length = 0;
    for (int i = 0; i < n; i++) {
        h[i][i] = 1;
        length += s.start.gradient[i] * s.start.gradient[i];
    }
    double before =
        s.start.value + sqrt(length) / 2; /* a guess that makes the first step one of about length 1 */
    bool going = isfinite(s.start.value);
    while (going && out->iterations < problem->iterations) {
        double largest = 0;
        for (int i = 0; i < n; i++) largest = fmax(largest, fabs(s.start.gradient[i]));
        out->converged = largest <= problem->tolerance;
        if (out->converged) break;
        s.start.slope = 0;
        for (int i = 0; i < n; i++) {
            direction[i] = 0;
            for (int j = 0; j < n; j++) direction[i] -= h[i][j] * s.start.gradient[j];
            s.start.slope += direction[i] * s.start.gradient[i];
        }
        if (!(s.start.slope < 0)) break;
        s.direction = direction;
        const double guess = 1.01 * 2 * (s.start.value - before) / s.start.slope;
        struct trial next;
        going = search_line(&s, guess > 0 && guess < 1 ? guess : 1, &next);
        if (!(next.value < s.start.value)) break;
        double step[MAX], change[MAX];
        for (int i = 0; i < n; i++) {
            step[i] = next.x[i] - s.start.x[i];
            change[i] = next.gradient[i] - s.start.gradient[i];
        }
        update(n, step, change, h);
        before = s.start.value;
        s.start = next;
        out->iterations++;
    }
    memcpy(x, s.start.x, (size_t)n * sizeof *x);
    out->value = s.start.value;
}
