#include "policy/rigid_motion.h"

#include <math.h>
#include <string.h>

void vipo_rigid_identity(double out[16])
{
    for (int i = 0; i < 16; i++) out[i] = i % 5 == 0;
}

void vipo_rigid_from_parameters(const double x[6], double out[16])
{
    const double cr = cos(x[3]), sr = sin(x[3]), cp = cos(x[4]), sp = sin(x[4]), cy = cos(x[5]),
                 sy = sin(x[5]);
    const double motion[16] = {
        cp * cy,
        -cp * sy,
        sp,
        x[0], /* Rx Ry Rz */
        cr * sy + sr * sp * cy,
        cr * cy - sr * sp * sy,
        -sr * cp,
        x[1], /* */
        sr * sy - cr * sp * cy,
        sr * cy + cr * sp * sy,
        cr * cp,
        x[2], /* */
        0,
        0,
        0,
        1,
    };
    memcpy(out, motion, sizeof motion);
}

void vipo_rigid_to_parameters(const double motion[16], double x[6])
{
    for (int i = 0; i < 3; i++) x[i] = motion[4 * i + 3];
    x[3] = atan2(-motion[6], motion[10]);
    x[4] = atan2(motion[2], hypot(motion[0], motion[1]));
    x[5] = atan2(-motion[1], motion[0]);
}

void vipo_rigid_move(const double motion[16], const double in[3], double out[3])
{
    double moved[3];
    for (int i = 0; i < 3; i++) {
        const double *const row = motion + 4 * i;
        moved[i] = row[0] * in[0] + row[1] * in[1] + row[2] * in[2] + row[3];
    }
    memcpy(out, moved, sizeof moved);
}

double vipo_rigid_loss(const vipo_matches *matches, const double motion[16])
{
    double sum = 0;
    for (int i = 0; i < matches->n; i++) {
        double moved[3], uv[2];
        vipo_rigid_move(motion, matches->points + 3 * i, moved);
        vipo_project(matches->camera, moved, uv);
        const double du = uv[0] - matches->uv[2 * i], dv = uv[1] - matches->uv[2 * i + 1];
        sum += du * du + dv * dv;
    }
    const double t = sqrt(motion[3] * motion[3] + motion[7] * motion[7] + motion[11] * motion[11]);
    return sum / (2.0 * matches->n) + fmax(1, t) - 1;
}
