/* Channel statistics of one strip (vipo_map.stats), two passes in double. */
#ifndef VIPO_COMPUTE_REF_STRIP_STATS_H
#define VIPO_COMPUTE_REF_STRIP_STATS_H

#include "compute/ops.h"

void vipo_strip_stats(const vipo_map *map, int sample, int frame, int strip);

#endif
