/* The network on batches of any size: split into pieces that fit the session's memory. Since a row's result does
 * not depend on its neighbours, neither does it depend on the splitting. */
#include <string.h>

#include "policy/planner.h"

static void gather(vipo_planner *planner, const vipo_rows_run *run, int row, int place, const float *task)
{
    const size_t cond = vipo_planner_cond_size(planner),
                 width = (size_t)planner->model->unet->embedding_width;
    const size_t video = (size_t)run->video[row];
    memcpy(planner->row_cond + (size_t)place * cond, run->cond + video * run->cond_stride,
           cond * sizeof(float));
    memcpy(planner->row_task + (size_t)place * width, task + video * run->task_stride, width * sizeof(float));
    planner->row_t[place] = run->t[row];
}

static vipo_status forward(vipo_planner *planner, const vipo_rows_run *run, int samples, const float *x,
                           float *v, vipo_error *error)
{
    const vipo_unet3d_run forward_run = {.compute = &planner->compute,
                                         .memory = planner->arena,
                                         .samples = samples,
                                         .x = x,
                                         .cond = planner->row_cond,
                                         .t = planner->row_t,
                                         .task_embedding = planner->row_task,
                                         .v = v,
                                         .callbacks = run->callbacks,
                                         .dump = run->dump,
                                         .dump_user = run->dump_user,
                                         .profile = run->profile,
                                         .profile_user = run->profile_user};
    return vipo_unet3d_forward(planner->model->unet, &forward_run, error);
}

static vipo_status run_plain(vipo_planner *planner, const vipo_rows_run *run, vipo_error *error)
{
    const size_t dim = vipo_planner_video_size(planner);
    for (int first = 0; first < run->rows; first += planner->batch) {
        const int n = run->rows - first < planner->batch ? run->rows - first : planner->batch;
        for (int i = 0; i < n; i++) gather(planner, run, first + i, i, run->task);
        VIPO_TRY(forward(planner, run, n, run->x + (size_t)first * dim, run->v + (size_t)first * dim, error));
    }
    return VIPO_OK;
}

/* Network rows 2r and 2r + 1 are row r with and without the task. */
static vipo_status run_guided(vipo_planner *planner, const vipo_rows_run *run, vipo_error *error)
{
    const size_t dim = vipo_planner_video_size(planner);
    const double w = run->guidance;
    const int total = 2 * run->rows;
    for (int first = 0; first < total; first += planner->batch) {
        const int n = total - first < planner->batch ? total - first : planner->batch;
        for (int i = 0; i < n; i++) {
            const int row = (first + i) / 2;
            gather(planner, run, row, i, (first + i) % 2 ? run->no_task : run->task);
            memcpy(planner->row_x + (size_t)i * dim, run->x + (size_t)row * dim, dim * sizeof(float));
        }
        VIPO_TRY(forward(planner, run, n, planner->row_x, planner->row_v, error));
        for (int i = 0; i < n; i++) {
            const float *from = planner->row_v + (size_t)i * dim;
            float *to = run->v + (size_t)((first + i) / 2) * dim;
            if ((first + i) % 2 == 0)
                memcpy(to, from, dim * sizeof(float));
            else
                for (size_t j = 0; j < dim; j++)
                    to[j] = (float)((1 + w) * (double)to[j] - w * (double)from[j]);
        }
    }
    return VIPO_OK;
}

vipo_status vipo_planner_run_rows(vipo_planner *planner, const vipo_rows_run *run, vipo_error *error)
{
    return run->guidance == 0 ? run_plain(planner, run, error) : run_guided(planner, run, error);
}
