#include "policy/ransac.h"

#include <math.h>
#include <string.h>

#include "policy/projection.h"

void vipo_similarity(const double from[4], const double to[4], const double center[2], double out[9])
{
    const double dx = from[2] - from[0], dy = from[3] - from[1];
    const double ex = to[2] - to[0], ey = to[3] - to[1];
    const double angle = atan2(ey, ex) - atan2(dy, dx);
    const double scale = sqrt(ex * ex + ey * ey) / sqrt(dx * dx + dy * dy);
    const double c = scale * cos(angle), s = scale * sin(angle);
    const double x = center[0] - from[0], y = center[1] - from[1];
    const double moved[2] = {to[0] + c * x - s * y, to[1] + s * x + c * y};
    const double m1[9] = {from[0], from[2], center[0], from[1], from[3], center[1], 1, 1, 1};
    const double m2[9] = {to[0], to[2], moved[0], to[1], to[3], moved[1], 1, 1, 1};
    double inverse[9];
    const bool regular = vipo_invert_3x3(m1, inverse);
    for (int i = 0; i < 9; i++) {
        const double *const row = m2 + i / 3 * 3;
        out[i] = !regular
                     ? i % 4 == 0
                     : row[0] * inverse[i % 3] + row[1] * inverse[3 + i % 3] + row[2] * inverse[6 + i % 3];
    }
}

static int count(const double *from, const double *to, int n, const double a[9], double threshold,
                 bool *inside)
{
    int total = 0;
    for (int i = 0; i < n; i++) {
        const double u = from[2 * i], v = from[2 * i + 1];
        const double du = a[0] * u + a[1] * v + a[2] - to[2 * i],
                     dv = a[3] * u + a[4] * v + a[5] - to[2 * i + 1];
        const bool in = sqrt(du * du + dv * dv) < threshold;
        if (inside) inside[i] = in;
        total += in;
    }
    return total;
}

int vipo_ransac(const double *from, const double *to, int n, const double center[2], const int32_t *pairs,
                int tries, double threshold, bool *inside, double *best)
{
    int most = -1;
    double chosen[9] = {0};
    for (int t = 0; t < tries; t++) {
        const int32_t *const pair = pairs + 2 * t;
        double p[4], q[4], a[9];
        for (int k = 0; k < 2; k++) {
            memcpy(p + 2 * k, from + 2 * pair[k], 2 * sizeof *p);
            memcpy(q + 2 * k, to + 2 * pair[k], 2 * sizeof *q);
        }
        vipo_similarity(p, q, center, a);
        const int inliers = count(from, to, n, a, threshold, NULL);
        if (inliers <= most) continue;
        most = inliers;
        memcpy(chosen, a, sizeof chosen);
    }
    if (best) memcpy(best, chosen, sizeof chosen);
    return count(from, to, n, chosen, threshold, inside);
}
