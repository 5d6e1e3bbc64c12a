/* media/dis.h where OpenCV was not found. */
#include "media/dis.h"

vipo_status vipo_dis_available(vipo_error *error)
{
    return vipo_fail(
        error, VIPO_UNSUPPORTED,
        "this vipo was built without OpenCV, which the flow method dis needs: run scripts/setup.sh, "
        "which installs it, and build again");
}

vipo_status vipo_dis_flow(const uint8_t *a, const uint8_t *b, int height, int width, float *flow,
                          vipo_error *error)
{
    (void)a, (void)b, (void)height, (void)width, (void)flow;
    return vipo_dis_available(error);
}
