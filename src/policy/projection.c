#include "policy/projection.h"

#include <math.h>
#include <string.h>

#include "core/npy.h"
#include "vipo/action.h"

bool vipo_invert_3x3(const double a[9], double out[9])
{
    double lu[3][3], x[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    memcpy(lu, a, sizeof lu);
    for (int k = 0; k < 3; k++) {
        int pivot = k;
        for (int i = k + 1; i < 3; i++)
            if (fabs(lu[i][k]) > fabs(lu[pivot][k])) pivot = i;
        if (lu[pivot][k] == 0) return false;
        if (pivot != k)
            for (int j = 0; j < 3; j++) {
                const double l = lu[k][j], r = x[k][j];
                lu[k][j] = lu[pivot][j], x[k][j] = x[pivot][j];
                lu[pivot][j] = l, x[pivot][j] = r;
            }
        for (int i = k + 1; i < 3; i++) {
            lu[i][k] /= lu[k][k];
            for (int j = k + 1; j < 3; j++) lu[i][j] -= lu[i][k] * lu[k][j];
        }
    }
    for (int column = 0; column < 3; column++) {
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < i; k++) x[i][column] -= lu[i][k] * x[k][column];
        for (int i = 2; i >= 0; i--) {
            for (int k = i + 1; k < 3; k++) x[i][column] -= lu[i][k] * x[k][column];
            x[i][column] /= lu[i][i];
        }
    }
    memcpy(out, x, sizeof x);
    return true;
}

vipo_status vipo_projection_open(vipo_projection *out, const double matrix[12], vipo_error *error)
{
    memset(out, 0, sizeof *out);
    double left[9];
    for (int i = 0; i < 12; i++) {
        if (!isfinite(matrix[i]))
            return vipo_fail(error, VIPO_NUMERIC, "camera matrix: row %d, column %d is not finite", i / 4,
                             i % 4);
        if (i % 4 < 3) left[i / 4 * 3 + i % 4] = matrix[i];
    }
    memcpy(out->matrix, matrix, sizeof out->matrix);
    bool regular = vipo_invert_3x3(left, out->inverse);
    for (int i = 0; i < 9; i++) regular = regular && isfinite(out->inverse[i]);
    if (!regular)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "camera matrix: its left 3x3 part cannot be inverted, expected intrinsics times "
                         "[rotation | translation]");
    return VIPO_OK;
}

vipo_status vipo_camera_matrix_read(const char *path, double matrix[12], vipo_error *error)
{
    vipo_projection camera;
    VIPO_TRY(vipo_npy_read_matrix(path, 3, 4, matrix, error));
    const vipo_status status = vipo_projection_open(&camera, matrix, error);
    return status == VIPO_OK ? VIPO_OK : vipo_fail_prefix(error, status, path);
}

void vipo_project(const vipo_projection *camera, const double point[3], double uv[2])
{
    double h[3];
    for (int i = 0; i < 3; i++) {
        const double *const row = camera->matrix + 4 * i;
        h[i] = row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3];
    }
    uv[0] = h[0] / h[2];
    uv[1] = h[1] / h[2];
}

void vipo_lift(const vipo_projection *camera, const double uv[2], double z, double point[3])
{
    if (camera->flipped_depth) z = -z;
    const double h[3] = {uv[0] * z - camera->matrix[3], uv[1] * z - camera->matrix[7],
                         z - camera->matrix[11]};
    for (int i = 0; i < 3; i++) {
        const double *const row = camera->inverse + 3 * i;
        point[i] = row[0] * h[0] + row[1] * h[1] + row[2] * h[2];
    }
}
