/* Where Meta-World's models are. */
#ifndef VIPO_SIM_ASSETS_H
#define VIPO_SIM_ASSETS_H

#include "core/status.h"

/* Path of sawyer_xyz/<model>.xml in `folder`; NULL: in $VIPO_METAWORLD_ASSETS, else in the models installed with this
 * library, else where set-up put them. VIPO_IO, saying how to get them, if it is not there. Free with free(). */
vipo_status vipo_assets_find(char **path, const char *folder, const char *model, vipo_error *error);

#endif
