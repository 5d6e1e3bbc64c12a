/* Plans once and writes a film: plan MODEL_FOLDER IMAGE TEXT OUT.gif
 * cc plan.c $(pkg-config --cflags --libs vipo) */
#include <stdio.h>
#include <vipo/vipo.h>

int main(int argc, char **argv)
{
    vipo_error error = {.status = VIPO_OK};
    vipo_model *model = NULL;
    vipo_planner *planner = NULL;
    vipo_image image = {.data = NULL};
    vipo_array cond = {.data = NULL};
    vipo_plan plan = {.calls = 0};
    if (argc != 5) {
        fprintf(stderr, "usage: %s MODEL_FOLDER IMAGE TEXT OUT.gif\n", argv[0]);
        return 2;
    }
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &cond;
    request.text = argv[3];
    request.sampler.name = "unipc";
    request.sampler.steps = 12;
    vipo_write_options write;
    vipo_write_default_options(&write);

    vipo_status status = vipo_model_open(&model, argv[1], NULL, &error);
    if (status == VIPO_OK) status = vipo_planner_open(&planner, model, NULL, &error);
    if (status == VIPO_OK) status = vipo_image_read(argv[2], &image, &error);
    if (status == VIPO_OK) status = vipo_model_preprocess(model, &image, &cond, &error);
    if (status == VIPO_OK) status = vipo_planner_plan(planner, &request, &plan, &error);
    if (status == VIPO_OK) status = vipo_plan_write(argv[4], &plan.video, &cond, &write, &error);
    if (status == VIPO_OK)
        printf("%s: %d network calls, %.2f s\n", plan.sampler, plan.calls, plan.seconds);
    else
        fprintf(stderr, "%s\n", error.message);

    vipo_plan_free(&plan);
    vipo_array_free(&cond);
    vipo_image_free(&image);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    return status == VIPO_OK ? 0 : 1;
}
