#include "sim/reward_terms.h"

#include "sim/vector.h"

static const double at_margin = 0.1;

double vipo_tolerance(double x, double low, double high, double margin, vipo_falloff falloff)
{
    if (low <= x && x <= high) return 1;
    if (margin <= 0) return 0;
    const double distance = (x < low ? low - x : x - high) / margin;
    if (falloff == VIPO_GAUSSIAN) {
        const double scaled = distance * sqrt(-2 * log(at_margin));
        return exp(-0.5 * (scaled * scaled));
    }
    const double scaled = distance * sqrt(1 / at_margin - 1);
    return 1 / (scaled * scaled + 1);
}

double vipo_hamacher(double a, double b)
{
    const double below = a + b - a * b;
    return below > 0 ? a * b / below : 0;
}

/* Of single numbers, double precision and one rounding give what single precision gives. */
static double rounded(double x, bool single)
{
    return single ? (double)(float)x : x;
}

vipo_term vipo_term_add(vipo_term a, double b)
{
    return (vipo_term){rounded(a.value + rounded(b, a.single), a.single), a.single};
}

vipo_term vipo_term_scale(vipo_term a, double b)
{
    return (vipo_term){rounded(a.value * rounded(b, a.single), a.single), a.single};
}

vipo_term vipo_term_hamacher(vipo_term a, double b)
{
    const double product = vipo_term_scale(a, b).value;
    const double below = rounded(vipo_term_add(a, b).value - product, a.single);
    return (vipo_term){below > 0 ? rounded(product / below, a.single) : 0, a.single};
}

vipo_term vipo_caging_reward(const vipo_sim *sim, const vipo_caging *caging, const double position[3],
                             double effort)
{
    const mjData *data = sim->scene->data;
    const double *const start = sim->object_start, *const finger_start = sim->finger_start;

    /* From left and right, along y; the margin grows as the pads leave the object's first place. */
    double sides[2];
    for (int i = 0; i < 2; i++) {
        const double pad = data->xpos[3 * (i ? sim->at.right_pad : sim->at.left_pad) + 1];
        const double margin = fabs(fabs(pad - start[1]) - caging->pad_distance);
        sides[i] = vipo_tolerance(fabs(pad - position[1]), caging->object_radius, caging->pad_distance,
                                  margin, VIPO_LONG_TAIL);
    }

    double fingers[3];
    vipo_sim_finger_center(sim, fingers);
    const double xz = hypot(fingers[0] - position[0], fingers[2] - position[2]);
    const double xz_start = hypot(start[0] - finger_start[0], start[2] - finger_start[2]);
    const double around = vipo_hamacher(
        vipo_hamacher(sides[0], sides[1]),
        vipo_tolerance(xz, 0, caging->xz_distance, xz_start - caging->xz_distance, VIPO_LONG_TAIL));

    const bool closing = around > 0.97 && effort > 0;
    const vipo_term closed = {closing ? fmin(effort, 1) : 0,
                              closing && effort <= 1 && sim->profile == VIPO_SIM_FARAMA_V3};
    const vipo_term gripped = vipo_term_hamacher(closed, around);
    if (caging->density == VIPO_CAGING_HIGH) return vipo_term_scale(vipo_term_add(gripped, around), 0.5);
    if (caging->density == VIPO_CAGING_MEDIUM) {
        const double margin = fabs(vipo_distance(start, finger_start) - caging->reach_radius);
        const double reach =
            vipo_tolerance(vipo_distance(position, fingers), 0, caging->reach_radius, margin, VIPO_LONG_TAIL);
        return vipo_term_scale(vipo_term_add(gripped, reach), 0.5);
    }
    return gripped;
}
