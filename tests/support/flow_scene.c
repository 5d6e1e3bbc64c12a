#include "support/flow_scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "policy/rigid_motion.h"

static const double degree = 3.14159265358979323846 / 180;

/* ---- numbers -------------------------------------------------------------------------------------------- */

struct draws {
    uint64_t seed, next;
};

static double uniform(struct draws *d, double low, double high)
{
    return low + (high - low) * ((double)test_uniform(d->seed, d->next++) + 1) / 2;
}

static void cross(const double a[3], const double b[3], double out[3])
{
    for (int i = 0; i < 3; i++) out[i] = a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3];
}
static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
static void normalize(double a[3])
{
    const double length = sqrt(dot(a, a));
    for (int i = 0; i < 3; i++) a[i] /= length;
}

/* a b, both 4x4 */
static void multiply(const double a[16], const double b[16], double out[16])
{
    double product[16];
    for (int i = 0; i < 16; i++) {
        product[i] = 0;
        for (int k = 0; k < 4; k++) product[i] += a[i / 4 * 4 + k] * b[4 * k + i % 4];
    }
    memcpy(out, product, sizeof product);
}

static void invert(const double a[16], double out[16])
{
    double inverse[16];
    vipo_rigid_identity(inverse);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) inverse[4 * i + j] = a[4 * j + i];
        inverse[4 * i + 3] = 0;
        for (int k = 0; k < 3; k++) inverse[4 * i + 3] -= a[4 * k + i] * a[4 * k + 3];
    }
    memcpy(out, inverse, sizeof inverse);
}

/* Rotation by `angle` about a unit axis through `center`, then a shift. */
static void turn_about(const double axis[3], double angle, const double center[3], const double shift[3],
                       double out[16])
{
    const double c = cos(angle), s = sin(angle);
    vipo_rigid_identity(out);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const int k = 3 - i - j;
            const double sign = (j - i + 3) % 3 == 1 ? -1 : 1;
            out[4 * i + j] = (i == j) * c + (1 - c) * axis[i] * axis[j] + (i == j ? 0 : sign * s * axis[k]);
        }
    for (int i = 0; i < 3; i++) {
        out[4 * i + 3] = center[i] + shift[i];
        for (int k = 0; k < 3; k++) out[4 * i + 3] -= out[4 * i + k] * center[k];
    }
}

/* ---- what is seen ---------------------------------------------------------------------------------------- */

/* A body in its own frame, where it is centred, and the camera's place in the world. */
struct body {
    bool box;
    double half[3];
    double pose[16]; /* own frame -> world */
};

/* Distance along the ray origin + s direction, INFINITY if it misses. */
static double hit_body(const struct body *body, const double origin[3], const double direction[3])
{
    double inverse[16], from[3], along[3], near = 0, far = INFINITY;
    invert(body->pose, inverse);
    vipo_rigid_move(inverse, origin, from);
    for (int i = 0; i < 3; i++) along[i] = dot(inverse + 4 * i, direction);
    if (!body->box) {
        for (int i = 0; i < 3; i++) from[i] /= body->half[i], along[i] /= body->half[i];
        const double a = dot(along, along), b = dot(from, along), c = dot(from, from) - 1,
                     inside = b * b - a * c;
        return inside > 0 ? (-b - sqrt(inside)) / a : INFINITY;
    }
    for (int i = 0; i < 3; i++) {
        const double s = (-body->half[i] - from[i]) / along[i], t = (body->half[i] - from[i]) / along[i];
        near = fmax(near, fmin(s, t));
        far = fmin(far, fmax(s, t));
    }
    return near < far ? near : INFINITY;
}

static void look_at(const double position[3], const double target[3], double focal, int height, int width,
                    double matrix[12])
{
    double back[3], right[3], up[3] = {0, 0, 1}, axes[3][4];
    for (int i = 0; i < 3; i++) back[i] = position[i] - target[i];
    normalize(back);
    cross(up, back, right);
    normalize(right);
    cross(back, right, up);
    for (int i = 0; i < 3; i++) axes[0][i] = right[i], axes[1][i] = up[i], axes[2][i] = back[i];
    for (int i = 0; i < 3; i++) axes[i][3] = -dot(axes[i], position);
    for (int j = 0; j < 4; j++) { /* as AVDC's: rows from the bottom, depths negative */
        matrix[j] = -focal * axes[0][j] + (width - 1) / 2.0 * axes[2][j];
        matrix[4 + j] = -focal * axes[1][j] + (height - 1) / 2.0 * axes[2][j];
        matrix[8 + j] = axes[2][j];
    }
}

struct view {
    vipo_projection camera;
    double position[3];
};

/* The point that a pixel shows; true if it is of the body, else of the table (z = 0) or far away. */
static bool see(const struct view *view, const struct body *body, const double uv[2], double point[3])
{
    double direction[3];
    vipo_lift(&view->camera, uv, -1, direction);
    for (int i = 0; i < 3; i++) direction[i] -= view->position[i];
    const double own = hit_body(body, view->position, direction);
    const double table = direction[2] < -1e-3 ? -view->position[2] / direction[2] : 4;
    const double s = fmin(fmin(own, table), 4);
    for (int i = 0; i < 3; i++) point[i] = view->position[i] + s * direction[i];
    return own <= s;
}

/* Flow of each pixel when `motion` moves the body. */
static void render_flow(const struct view *view, const struct body *body, const double motion[16], int height,
                        int width, float *flow)
{
    for (int i = 0; i < height * width; i++) {
        double point[3], to[2];
        const double uv[2] = {i % width, i / width};
        flow[2 * i] = flow[2 * i + 1] = 0;
        if (!see(view, body, uv, point)) continue;
        vipo_rigid_move(motion, point, point);
        vipo_project(&view->camera, point, to);
        for (int k = 0; k < 2; k++) flow[2 * i + k] = (float)(to[k] - uv[k]);
    }
}

static void blur(float *flow, int height, int width, int radius)
{
    const size_t n = (size_t)height * (size_t)width * 2;
    float *const copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, flow, n * sizeof *copy);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int k = 0; k < 2; k++) {
                double sum = 0;
                int count = 0;
                for (int v = y - radius; v <= y + radius; v++)
                    for (int u = x - radius; u <= x + radius; u++)
                        if (v >= 0 && v < height && u >= 0 && u < width) {
                            sum += (double)copy[2 * (v * width + u) + k];
                            count++;
                        }
                flow[2 * (y * width + x) + k] = (float)(sum / count);
            }
    free(copy);
}

static void spoil(const flow_scene_options *o, struct draws *d, int frame, float *flow)
{
    const int height = o->height, width = o->width;
    const vipo_rng_stream stream = {.plan = (uint32_t)frame, .purpose = 0x77};
    if (o->blur > 0) blur(flow, height, width, (int)o->blur);
    for (int y = 0; y < height && o->wrong > 0; y += 8)
        for (int x = 0; x < width; x += 8) {
            const bool off = uniform(d, 0, 1) < o->wrong;
            const double du = uniform(d, -6, 6), dv = uniform(d, -6, 6);
            for (int i = 0; i < 64 && off; i++)
                if (y + i / 8 < height && x + i % 8 < width) {
                    float *const at = flow + 2 * ((y + i / 8) * width + x + i % 8);
                    at[0] += (float)du, at[1] += (float)dv;
                }
        }
    for (int i = 0; i < 2 * height * width && o->noise > 0; i++) {
        double z;
        if (flow[i] == 0) continue; /* the table's flow is not read */
        vipo_rng_normal_double(d->seed, &stream, (uint64_t)i, 1, &z);
        flow[i] += (float)(o->noise * z);
    }
}

/* ---- the scene ------------------------------------------------------------------------------------------- */

static void make_motions(const flow_scene_options *o, struct draws *d, flow_scene *out, struct body *body)
{
    double at[3];
    memcpy(at, out->center, sizeof at);
    double axis[3] = {0, 0, 1}, heading = uniform(d, 0, 360) * degree;
    if (o->any_axis)
        for (int i = 0; i < 3; i++) axis[i] = uniform(d, -1, 1);
    normalize(axis);
    const double climb = uniform(d, 0, 1);
    for (int k = 0; k < o->frames; k++) {
        const double shift[3] = {o->translation * cos(heading) * sqrt(1 - climb * climb),
                                 o->translation * sin(heading) * sqrt(1 - climb * climb),
                                 o->translation * climb};
        turn_about(axis, o->turn * degree, at, shift, out->motions[k]);
        vipo_rigid_move(out->motions[k], at, at);
        heading += uniform(d, -20, 20) * degree;
    }
    (void)body;
}

void flow_scene_open(flow_scene *out, const flow_scene_options *o)
{
    struct draws d = {.seed = o->seed + 1000};
    struct body body = {.box = o->box};
    struct view view;
    vipo_error error = {0};
    const size_t n = (size_t)o->frames, h = (size_t)o->height, w = (size_t)o->width, shape[4] = {n, h, w, 2};
    memset(out, 0, sizeof *out);
    assert_ok(vipo_array_alloc(&out->depth, 2, shape + 1, &error), &error);
    assert_ok(vipo_array_alloc(&out->flow, 4, shape, &error), &error);
    assert_ok(vipo_array_alloc(&out->backward, 4, shape, &error), &error);
    out->mask = calloc(h * w, 1);
    out->motions = calloc(n, sizeof *out->motions);
    assert_true(out->mask && out->motions);

    for (int i = 0; i < 3; i++) body.half[i] = uniform(&d, 0.02, 0.05);
    out->center[0] = uniform(&d, -0.1, 0.1);
    out->center[1] = 0.6 + uniform(&d, -0.1, 0.1);
    out->center[2] = body.half[2];
    const double from = uniform(&d, -60, 60) * degree, distance = uniform(&d, 0.8, 1.2),
                 above = uniform(&d, 25, 50) * degree;
    const double sight[3] = {sin(from) * cos(above), -cos(from) * cos(above), sin(above)};
    for (int i = 0; i < 3; i++) view.position[i] = out->center[i] + distance * sight[i];
    look_at(view.position, (const double[]){0, 0.6, 0.05}, o->height / 2.0 / tan(22.5 * degree), o->height,
            o->width, out->matrix);
    assert_ok(vipo_projection_open(&view.camera, out->matrix, &error), &error);
    turn_about((const double[]){0, 0, 1}, uniform(&d, 0, 180) * degree, (const double[]){0, 0, 0},
               out->center, body.pose);
    make_motions(o, &d, out, &body);

    for (size_t i = 0; i < h * w; i++) {
        double point[3];
        const double *const row = out->matrix + 8;
        out->mask[i] = see(&view, &body, (const double[]){(double)(i % w), (double)(i / w)}, point) ? 255 : 0;
        out->depth.data[i] = (float)(dot(row, point) + row[3]);
    }
    for (size_t k = 0; k < n; k++) {
        double back[16];
        render_flow(&view, &body, out->motions[k], o->height, o->width, out->flow.data + k * h * w * 2);
        multiply(out->motions[k], body.pose, body.pose);
        invert(out->motions[k], back);
        render_flow(&view, &body, back, o->height, o->width, out->backward.data + k * h * w * 2);
        spoil(o, &d, (int)k, out->flow.data + k * h * w * 2);
        spoil(o, &d, (int)k + 1000, out->backward.data + k * h * w * 2);
    }
    out->request = (vipo_motion_request){
        .depth = &out->depth, .matrix = out->matrix, .mask = out->mask, .flow = &out->flow};
}

void flow_scene_close(flow_scene *scene)
{
    vipo_array_free(&scene->depth);
    vipo_array_free(&scene->flow);
    vipo_array_free(&scene->backward);
    free(scene->mask);
    free(scene->motions);
    memset(scene, 0, sizeof *scene);
}

void flow_scene_carry(const flow_scene *scene, int frames, const double point[3], double out[3])
{
    memcpy(out, point, 3 * sizeof *out);
    for (int k = 0; k < frames; k++) vipo_rigid_move(scene->motions[k], out, out);
}

double flow_scene_error(const flow_scene *scene, const vipo_motion *motion)
{
    double at[3];
    flow_scene_carry(scene, motion->n_steps, motion->grasp, at);
    const double *const last = motion->subgoals[motion->n_steps];
    return sqrt((at[0] - last[0]) * (at[0] - last[0]) + (at[1] - last[1]) * (at[1] - last[1]) +
                (at[2] - last[2]) * (at[2] - last[2]));
}
