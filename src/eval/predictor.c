#include "eval/predictor.h"

#include <stdio.h>
#include <string.h>

static const vipo_predictor *const predictors[] = {
    &vipo_predictor_flow,
    &vipo_predictor_goal,
    &vipo_predictor_bc,
    &vipo_predictor_expert,
};
enum { PREDICTORS = sizeof predictors / sizeof *predictors };

const vipo_predictor *vipo_predictor_at(int i)
{
    return i >= 0 && i < PREDICTORS ? predictors[i] : NULL;
}

vipo_status vipo_predictor_find(const vipo_predictor **out, const char *name, vipo_error *error)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < PREDICTORS; i++) {
        if (strcmp(predictors[i]->name, name) == 0) {
            *out = predictors[i];
            return VIPO_OK;
        }
        const int n = snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", predictors[i]->name);
        if (n > 0 && used + (size_t)n < sizeof known) used += (size_t)n;
    }
    *out = NULL;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown policy \"%.80s\", expected %s%s", name,
                     PREDICTORS > 1 ? "one of " : "", known);
}
