#include "policy/point_sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double neighbourhood = 5; /* pixels */

void vipo_samples_free(vipo_samples *samples)
{
    free(samples->uv);
    free(samples->depth);
    free(samples->points);
    memset(samples, 0, sizeof *samples);
}

/* Indices of the set pixels, row by row. *out is NULL for none. */
static vipo_status list_pixels(const uint8_t *mask, const vipo_field *depth, bool all_if_none, int32_t **out,
                               int *count, vipo_error *error)
{
    const int total = depth->height * depth->width;
    int set = 0;
    *out = NULL;
    for (int i = 0; i < total; i++) set += mask[i] != 0;
    const bool all = set == 0;
    *count = all && all_if_none ? total : set;
    if (*count == 0) return VIPO_OK;
    *out = malloc((size_t)*count * sizeof **out);
    if (!*out) return vipo_fail_memory(error, (size_t)*count * sizeof **out, "the pixels of a mask");
    for (int i = 0, k = 0; i < total; i++)
        if (all || mask[i] != 0) (*out)[k++] = i;
    return VIPO_OK;
}

static void keep(vipo_samples *out, const double uv[2], double depth, const vipo_projection *camera)
{
    memcpy(out->uv + 2 * out->n, uv, 2 * sizeof *uv);
    out->depth[out->n] = depth;
    vipo_lift(camera, uv, depth, out->points + 3 * out->n);
    out->n++;
}

/* Is this a depth, and not a hole of the map? */
static bool known(double depth)
{
    return isfinite(depth) && depth != 0;
}

static void keep_even(vipo_samples *out, const int32_t *pixels, const int32_t *index, const double *jitter,
                      int n, const vipo_field *depth, double depth_jump, const vipo_projection *camera)
{
    for (int i = 0; i < n; i++) {
        const int pixel = pixels[index[i]];
        const double uv[2] = {pixel % depth->width + jitter[2 * i], pixel / depth->width + jitter[2 * i + 1]};
        double z;
        if (!(vipo_field_span(depth, uv) <= depth_jump)) continue;
        vipo_field_read_clamped(depth, uv, &z);
        if (known(z)) keep(out, uv, z, camera);
    }
    if (out->n >= (n + 9) / 10) return;
    out->n = 0;
    for (int i = 0; i < n; i++) {
        const int pixel = pixels[index[i]];
        const double uv[2] = {pixel % depth->width, pixel / depth->width};
        const double z = (double)depth->data[pixel];
        if (known(z)) keep(out, uv, z, camera);
    }
}

static vipo_status keep_all(vipo_samples *out, const int32_t *pixels, const int32_t *index,
                            const double *jitter, int n, const vipo_field *depth, bool strict,
                            const vipo_projection *camera, vipo_error *error)
{
    for (int i = 0; i < n; i++) {
        const int pixel = pixels[index[i]];
        const double uv[2] = {pixel % depth->width + jitter[2 * i], pixel / depth->width + jitter[2 * i + 1]};
        double z;
        if (!strict)
            vipo_field_read_clamped(depth, uv, &z);
        else if (!vipo_field_read_strict(depth, uv, &z))
            return vipo_fail(
                error, VIPO_NUMERIC,
                "sample %d at (%.3f, %.3f) reads past the last column or row of %dx%d, where AVDC's "
                "sampling fails; 'robust' does not",
                i, uv[0], uv[1], depth->width, depth->height);
        if (!isfinite(z))
            return vipo_fail(error, VIPO_NUMERIC, "the depth at sample %d, (%.3f, %.3f), is not finite", i,
                             uv[0], uv[1]);
        keep(out, uv, z, camera);
    }
    return VIPO_OK;
}

vipo_status vipo_samples_draw(const uint8_t *mask, const vipo_field *depth, const vipo_projection *camera,
                              vipo_sampler_rule rule, double depth_jump, int n,
                              const vipo_draw_source *source, vipo_samples *out, vipo_error *error)
{
    int32_t *pixels = NULL, *index = NULL;
    double *jitter = NULL;
    int count;
    vipo_status status;
    memset(out, 0, sizeof *out);
    VIPO_TRY_GOTO(list_pixels(mask, depth, rule != VIPO_SAMPLE_EVEN, &pixels, &count, error), done);
    if (count == 0) goto done;
    index = malloc((size_t)n * sizeof *index);
    jitter = malloc(2 * (size_t)n * sizeof *jitter);
    out->uv = malloc(2 * (size_t)n * sizeof *out->uv);
    out->depth = malloc((size_t)n * sizeof *out->depth);
    out->points = malloc(3 * (size_t)n * sizeof *out->points);
    if (!index || !jitter || !out->uv || !out->depth || !out->points) {
        status = vipo_fail_memory(error, (size_t)n * 8 * sizeof(double), "samples");
        goto done;
    }
    VIPO_TRY_GOTO(vipo_draw_samples(source, count, n, index, jitter, error), done);
    if (rule == VIPO_SAMPLE_EVEN)
        keep_even(out, pixels, index, jitter, n, depth, depth_jump, camera);
    else
        status = keep_all(out, pixels, index, jitter, n, depth, rule == VIPO_SAMPLE_STRICT, camera, error);
done:
    if (status != VIPO_OK) vipo_samples_free(out);
    free(pixels);
    free(index);
    free(jitter);
    return status;
}

static double distance(const vipo_samples *samples, int i, int j)
{
    const double du = samples->uv[2 * i] - samples->uv[2 * j],
                 dv = samples->uv[2 * i + 1] - samples->uv[2 * j + 1];
    return sqrt(du * du + dv * dv);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void vipo_samples_grasp(const vipo_samples *samples, const vipo_projection *camera, double *scratch,
                        double grasp[3])
{
    int best = 0, near = 0;
    double least = INFINITY;
    for (int i = 0; i < samples->n; i++) {
        double sum = 0;
        for (int j = 0; j < samples->n && sum < least; j++) sum += distance(samples, i, j);
        if (sum < least) {
            least = sum;
            best = i;
        }
    }
    for (int i = 0; i < samples->n; i++)
        if (distance(samples, i, best) < neighbourhood) scratch[near++] = samples->depth[i];
    qsort(scratch, (size_t)near, sizeof *scratch, compare_doubles);
    const double middle = near % 2 ? scratch[near / 2] : (scratch[near / 2 - 1] + scratch[near / 2]) / 2;
    vipo_lift(camera, samples->uv + 2 * best, middle, grasp);
}
