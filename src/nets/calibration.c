#include "nets/calibration.h"

#include <string.h>

#include "core/json_util.h"

static const double smallest_ratio = 0.01, largest_ratio = 100, largest_spread = 10;

static vipo_status check_strides(const vipo_calibration *c, int timesteps, vipo_json_at at, vipo_error *error)
{
    if (timesteps % c->draft_stride)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: %s.draft_stride: %d does not divide the model's %d timesteps", at.file, at.path,
                         c->draft_stride, timesteps);
    if (c->target_stride >= c->draft_stride || c->draft_stride % c->target_stride)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: %s.target_stride: expected a divisor of draft_stride %d that is less, found %d",
                         at.file, at.path, c->draft_stride, c->target_stride);
    return VIPO_OK;
}

vipo_status vipo_calibration_parse(vipo_calibration *out, const json_t *root, int timesteps, const char *file,
                                   vipo_error *error)
{
    const json_t *calibration = NULL, *lazy = NULL;
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "calibration", false, &calibration, error));
    if (!calibration) return VIPO_OK;
    VIPO_TRY(vipo_json_object(calibration, (vipo_json_at){file, "calibration"}, "draft_target_lazy", false,
                              &lazy, error));
    if (!lazy) return VIPO_OK;
    const vipo_json_at at = {file, "calibration.draft_target_lazy"};
    vipo_calibration c = {.draft_stride = 0};
    VIPO_TRY(vipo_json_int(lazy, at, "draft_stride", true, 1, timesteps, &c.draft_stride, error));
    VIPO_TRY(vipo_json_int(lazy, at, "target_stride", true, 1, timesteps, &c.target_stride, error));
    VIPO_TRY(check_strides(&c, timesteps, at, error));
    VIPO_TRY(vipo_json_int(lazy, at, "plans", false, 0, 1 << 30, &c.plans, error));
    VIPO_TRY(vipo_json_doubles(lazy, at, "ratios", true, smallest_ratio, largest_ratio, c.ratios,
                               VIPO_MAX_RATIOS, &c.n_ratios, error));
    const int expected = timesteps / c.draft_stride - 1;
    if (c.n_ratios != expected || expected == 0)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: %s.ratios: expected %d numbers, one per token but the last, found %d", file,
                         at.path, expected, c.n_ratios);
    int spreads = expected;
    VIPO_TRY(vipo_json_doubles(lazy, at, "log_spread", false, 0, largest_spread, c.log_spread,
                               VIPO_MAX_RATIOS, &spreads, error));
    if (spreads != expected)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: %s.log_spread: expected %d numbers, one per ratio, found %d", file, at.path,
                         expected, spreads);
    *out = c;
    return VIPO_OK;
}

static json_t *reals(const double *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        if (json_array_append_new(list, json_real(values[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

json_t *vipo_calibration_json(const vipo_calibration *c)
{
    return json_pack("{s:i, s:i, s:i, s:o, s:o}", "draft_stride", c->draft_stride, "target_stride",
                     c->target_stride, "plans", c->plans, "ratios", reals(c->ratios, c->n_ratios),
                     "log_spread", reals(c->log_spread, c->n_ratios));
}
