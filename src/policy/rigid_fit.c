/* Levenberg-Marquardt (Marquardt 1963, More 1978) on the reprojection error of a rigid motion. A step (d, w) moves a point Y
 * that has been moved so far to c + exp([w]) (Y - c) + d, c the centroid of all of them: translation and rotation hardly
 * disturb each other that way, far from the world's origin too. */
#include <math.h>
#include <string.h>

#include "policy/rigid_motion.h"

enum { N = 6, MOST_ITERATIONS = 200 };

/* Gradient and Gauss-Newton Hessian of the loss in (d, w). */
struct normal {
    double gradient[N], hessian[N][N];
};

/* Rows of d(step)/d(d, w) at `arm` = Y - c: [I | -[arm]x]. */
static void add_row(const double by_point[3], const double arm[3], double residual, double weight,
                    struct normal *normal)
{
    const double row[N] = {
        by_point[0],
        by_point[1],
        by_point[2],
        arm[1] * by_point[2] - arm[2] * by_point[1],
        arm[2] * by_point[0] - arm[0] * by_point[2],
        arm[0] * by_point[1] - arm[1] * by_point[0],
    };
    for (int i = 0; i < N; i++) {
        normal->gradient[i] += weight * residual * row[i];
        for (int j = 0; j <= i; j++) normal->hessian[i][j] += weight * row[i] * row[j];
    }
}

/* max(1, |t|) - 1: beyond a metre its gradient is t/|t|, its Hessian (I - t t'/|t|^2)/|t|. */
static void add_penalty(const double motion[16], const double center[3], struct normal *normal)
{
    const double t[3] = {motion[3], motion[7], motion[11]};
    const double length = sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]);
    if (length <= 1) return;
    double arm[3], unit[3];
    for (int i = 0; i < 3; i++) {
        arm[i] = t[i] - center[i];
        unit[i] = t[i] / length;
    }
    struct normal along = {{0}, {{0}}};
    add_row(unit, arm, 1, 1, &along);
    for (int i = 0; i < N; i++) {
        normal->gradient[i] += along.gradient[i];
        for (int j = 0; j <= i; j++) normal->hessian[i][j] -= along.hessian[i][j] / length;
    }
    for (int axis = 0; axis < 3; axis++) {
        const double e[3] = {axis == 0, axis == 1, axis == 2};
        add_row(e, arm, 0, 1 / length, normal);
    }
}

static void linearize(const vipo_matches *m, const double motion[16], const double center[3],
                      struct normal *normal)
{
    const double *const c = m->camera->matrix;
    const double weight = 1.0 / m->n;
    memset(normal, 0, sizeof *normal);
    for (int i = 0; i < m->n; i++) {
        double at[3], h[3], arm[3];
        vipo_rigid_move(motion, m->points + 3 * i, at);
        for (int k = 0; k < 3; k++) {
            h[k] = c[4 * k] * at[0] + c[4 * k + 1] * at[1] + c[4 * k + 2] * at[2] + c[4 * k + 3];
            arm[k] = at[k] - center[k];
        }
        for (int axis = 0; axis < 2; axis++) {
            const double value = h[axis] / h[2];
            double by_point[3];
            for (int k = 0; k < 3; k++) by_point[k] = (c[4 * axis + k] - value * c[8 + k]) / h[2];
            add_row(by_point, arm, value - m->uv[2 * i + axis], weight, normal);
        }
    }
    add_penalty(motion, center, normal);
}

/* Solves (hessian + damping of its diagonal) step = -gradient by Cholesky; false if that is not positive definite. */
static bool solve(const struct normal *normal, double damping, double step[N])
{
    double l[N][N], largest = 0;
    for (int i = 0; i < N; i++) largest = fmax(largest, normal->hessian[i][i]);
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            double sum = normal->hessian[i][j];
            if (i == j) sum += damping * (sum + 1e-12 * largest);
            for (int k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            if (i != j) {
                l[i][j] = sum / l[j][j];
            } else {
                if (!(sum > 0)) return false;
                l[i][i] = sqrt(sum);
            }
        }
    for (int i = 0; i < N; i++) {
        double sum = -normal->gradient[i];
        for (int k = 0; k < i; k++) sum -= l[i][k] * step[k];
        step[i] = sum / l[i][i];
    }
    for (int i = N - 1; i >= 0; i--) {
        for (int k = i + 1; k < N; k++) step[i] -= l[k][i] * step[k];
        step[i] /= l[i][i];
    }
    return true;
}

/* exp([w]) by Rodrigues' formula. */
static void rotation(const double w[3], double out[3][3])
{
    const double angle2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2], angle = sqrt(angle2);
    const double a = angle < 1e-4 ? 1 - angle2 / 6 : sin(angle) / angle;
    const double b = angle < 1e-4 ? 0.5 - angle2 / 24 : (1 - cos(angle)) / angle2;
    const double k[3][3] = {{0, -w[2], w[1]}, {w[2], 0, -w[0]}, {-w[1], w[0], 0}};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) out[i][j] = (i == j) * (1 - b * angle2) + a * k[i][j] + b * w[i] * w[j];
}

static void take_step(const double motion[16], const double center[3], const double step[N], double out[16])
{
    double r[3][3];
    rotation(step + 3, r);
    vipo_rigid_identity(out);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            out[4 * i + j] = r[i][0] * motion[j] + r[i][1] * motion[4 + j] + r[i][2] * motion[8 + j];
        out[4 * i + 3] = center[i] + step[i];
        for (int k = 0; k < 3; k++) out[4 * i + 3] += r[i][k] * (motion[4 * k + 3] - center[k]);
    }
}

static void centroid(const vipo_matches *m, double out[3])
{
    for (int k = 0; k < 3; k++) {
        out[k] = 0;
        for (int i = 0; i < m->n; i++) out[k] += m->points[3 * i + k];
        out[k] /= m->n;
    }
}

void vipo_rigid_fit_lm(const vipo_matches *matches, vipo_rigid_fit *out)
{
    double rest[3], center[3], damping = 1e-4;
    *out = (vipo_rigid_fit){.starts = 1};
    vipo_rigid_identity(out->motion);
    out->loss = vipo_rigid_loss(matches, out->motion);
    centroid(matches, rest);
    if (!isfinite(out->loss)) return;
    while (out->iterations < MOST_ITERATIONS) {
        struct normal normal;
        bool taken = false, still = false;
        vipo_rigid_move(out->motion, rest, center);
        linearize(matches, out->motion, center, &normal);
        out->iterations++;
        while (!taken && !still) {
            double step[N], next[16];
            still = damping > 1e12;
            if (!solve(&normal, damping, step)) {
                damping = fmax(10 * damping, 1e-12);
                continue;
            }
            take_step(out->motion, center, step, next);
            const double loss = vipo_rigid_loss(matches, next);
            if (!(loss < out->loss)) {
                damping *= 10;
                continue;
            }
            still = out->loss - loss <= 1e-13 * out->loss;
            taken = true;
            memcpy(out->motion, next, sizeof next);
            out->loss = loss;
            damping *= 0.1;
        }
        if (still) break;
    }
}
