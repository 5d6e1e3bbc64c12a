#include "policy/field.h"

#include <math.h>

static const float *pixel(const vipo_field *field, int x, int y)
{
    return field->data + ((size_t)y * (size_t)field->width + (size_t)x) * (size_t)field->channels;
}

static void blend(const vipo_field *field, const int x[2], const int y[2], double fx, double fy, double *out)
{
    const float *const a = pixel(field, x[0], y[0]), *const b = pixel(field, x[1], y[0]);
    const float *const c = pixel(field, x[0], y[1]), *const d = pixel(field, x[1], y[1]);
    for (int i = 0; i < field->channels; i++)
        out[i] = (double)a[i] * (1 - fx) * (1 - fy) + (double)b[i] * fx * (1 - fy) +
                 (double)c[i] * (1 - fx) * fy + (double)d[i] * fx * fy;
}

/* Index i of n, negative ones from the end; -1: there is none. */
static int numpy_index(int i, int n)
{
    const int at = i < 0 ? i + n : i;
    return at >= 0 && at < n ? at : -1;
}

bool vipo_field_read_strict(const vipo_field *field, const double uv[2], double *out)
{
    if (!(fabs(uv[0]) < 1e9 && fabs(uv[1]) < 1e9)) return false;
    const int x0 = (int)uv[0], y0 = (int)uv[1];
    const int x[2] = {numpy_index(x0, field->width), numpy_index(x0 + 1, field->width)};
    const int y[2] = {numpy_index(y0, field->height), numpy_index(y0 + 1, field->height)};
    if (x[0] < 0 || x[1] < 0 || y[0] < 0 || y[1] < 0) return false;
    blend(field, x, y, uv[0] - x0, uv[1] - y0, out);
    return true;
}

/* Corners and fraction on one axis of n pixels. */
static double corners(double at, int n, int out[2])
{
    const double inside = fmin(fmax(at, 0), n - 1);
    out[0] = (int)inside;
    out[1] = out[0] + 1 < n ? out[0] + 1 : out[0];
    return inside - out[0];
}

void vipo_field_read_clamped(const vipo_field *field, const double uv[2], double *out)
{
    int x[2], y[2];
    const double fx = corners(uv[0], field->width, x), fy = corners(uv[1], field->height, y);
    blend(field, x, y, fx, fy, out);
}

double vipo_field_span(const vipo_field *field, const double uv[2])
{
    int x[2], y[2];
    double low = INFINITY, high = -INFINITY;
    corners(uv[0], field->width, x);
    corners(uv[1], field->height, y);
    for (int i = 0; i < 4; i++) {
        const double value = (double)*pixel(field, x[i & 1], y[i >> 1]);
        if (!isfinite(value)) return NAN;
        low = fmin(low, value);
        high = fmax(high, value);
    }
    return high - low;
}
