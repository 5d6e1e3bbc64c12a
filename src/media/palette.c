#include "media/palette.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_BITS = 6, CELLS = 1 << (3 * CELL_BITS), KMEANS_ROUNDS = 4, MAX_FIXED = 64 };

typedef struct cell {
    uint32_t count, sums[3]; /* wrap after 16 million equal pixels, which costs quality, not safety */
} cell;

struct vipo_histogram {
    cell cells[CELLS];
};

/* The mean colour of a cell that is not empty. */
typedef struct point {
    float value[3], weight;
} point;

/* Points first..first+count-1 become one colour. */
typedef struct box {
    size_t first, count;
    int axis;      /* of the largest spread */
    double spread; /* summed squared distance to the mean along that axis */
} box;

vipo_status vipo_histogram_open(vipo_histogram **out, vipo_error *error)
{
    *out = calloc(1, sizeof **out);
    return *out ? VIPO_OK : vipo_fail_memory(error, sizeof **out, "a histogram of colours");
}

void vipo_histogram_close(vipo_histogram **histogram)
{
    free(*histogram);
    *histogram = NULL;
}

void vipo_histogram_add(vipo_histogram *histogram, const uint8_t colour[3])
{
    const int drop = 8 - CELL_BITS;
    const int at =
        ((colour[0] >> drop) << (2 * CELL_BITS)) | ((colour[1] >> drop) << CELL_BITS) | (colour[2] >> drop);
    cell *c = &histogram->cells[at];
    if (c->count >= UINT32_MAX / 255) return;
    c->count++;
    for (int k = 0; k < 3; k++) c->sums[k] += colour[k];
}

static vipo_status collect_points(const vipo_histogram *histogram, point **out, size_t *count,
                                  vipo_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < CELLS; i++) n += histogram->cells[i].count > 0;
    point *points = malloc((n + 1) * sizeof *points);
    if (!points) return vipo_fail_memory(error, (n + 1) * sizeof *points, "the colours of a film");
    n = 0;
    for (size_t i = 0; i < CELLS; i++) {
        const cell *c = &histogram->cells[i];
        if (c->count == 0) continue;
        for (int k = 0; k < 3; k++) points[n].value[k] = (float)((double)c->sums[k] / c->count);
        points[n++].weight = (float)c->count;
    }
    *out = points;
    *count = n;
    return VIPO_OK;
}

/* ---- median cut ---- */

static void measure(box *b, const point *points)
{
    double weight = 0, sum[3] = {0}, square[3] = {0};
    for (size_t i = b->first; i < b->first + b->count; i++) {
        weight += (double)points[i].weight;
        for (int k = 0; k < 3; k++) {
            const double value = (double)points[i].value[k], part = (double)points[i].weight * value;
            sum[k] += part;
            square[k] += part * value;
        }
    }
    b->axis = 0;
    b->spread = 0;
    for (int k = 0; k < 3; k++) {
        const double spread = weight > 0 ? square[k] - sum[k] * sum[k] / weight : 0;
        if (spread <= b->spread) continue;
        b->axis = k;
        b->spread = spread;
    }
}

static int compare(float a, float b)
{
    return (a > b) - (a < b);
}

static int compare_red(const void *a, const void *b)
{
    return compare(((const point *)a)->value[0], ((const point *)b)->value[0]);
}

static int compare_green(const void *a, const void *b)
{
    return compare(((const point *)a)->value[1], ((const point *)b)->value[1]);
}

static int compare_blue(const void *a, const void *b)
{
    return compare(((const point *)a)->value[2], ((const point *)b)->value[2]);
}

/* Cuts a box of at least two points where the two parts' summed squared distances are least, that is
 * where sum^2 / weight of both parts is greatest. */
static void cut(box *b, box *second, point *points)
{
    static int (*const by_axis[3])(const void *, const void *) = {compare_red, compare_green, compare_blue};
    point *own = points + b->first;
    qsort(own, b->count, sizeof *own, by_axis[b->axis]);
    double weight = 0, sum = 0;
    for (size_t i = 0; i < b->count; i++) {
        weight += (double)own[i].weight;
        sum += (double)own[i].weight * (double)own[i].value[b->axis];
    }
    double left_weight = 0, left_sum = 0, best = -1;
    size_t best_count = b->count / 2;
    for (size_t i = 0; i + 1 < b->count; i++) {
        left_weight += (double)own[i].weight;
        left_sum += (double)own[i].weight * (double)own[i].value[b->axis];
        const double right_sum = sum - left_sum;
        const double score =
            left_sum * left_sum / left_weight + right_sum * right_sum / (weight - left_weight);
        if (score <= best) continue;
        best = score;
        best_count = i + 1;
    }
    *second = (box){.first = b->first + best_count, .count = b->count - best_count};
    b->count = best_count;
    measure(b, points);
    measure(second, points);
}

static int cut_boxes(box *boxes, int room, point *points, size_t n_points)
{
    boxes[0] = (box){.count = n_points};
    measure(&boxes[0], points);
    int n = 1;
    while (n < room) {
        int widest = 0;
        for (int i = 1; i < n; i++)
            if (boxes[i].spread > boxes[widest].spread) widest = i;
        if (boxes[widest].count < 2 || boxes[widest].spread <= 0) break;
        cut(&boxes[widest], &boxes[n], points);
        n++;
    }
    return n;
}

/* ---- k-means ---- */

static size_t nearest_centre(const point *centres, size_t n, const float value[3], float *distance)
{
    size_t best = 0;
    float least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        const float r = centres[i].value[0] - value[0], g = centres[i].value[1] - value[1],
                    b = centres[i].value[2] - value[2];
        const float d = r * r + g * g + b * b;
        if (d < least) {
            least = d;
            best = i;
        }
    }
    *distance = least;
    return best;
}

/* Moves the centres after the first n_fixed to the means of the points nearest to them; returns the
 * summed squared distance of all points before the move. */
static double refine(point *centres, size_t n_fixed, size_t n, const point *points, size_t n_points)
{
    double sums[VIPO_PALETTE_MAX][4] = {{0}}, total = 0;
    for (size_t i = 0; i < n_points; i++) {
        float distance;
        double *sum = sums[nearest_centre(centres, n, points[i].value, &distance)];
        for (int k = 0; k < 3; k++) sum[k] += (double)points[i].weight * (double)points[i].value[k];
        sum[3] += (double)points[i].weight;
        total += (double)points[i].weight * (double)distance;
    }
    for (size_t i = n_fixed; i < n; i++)
        for (int k = 0; k < 3 && sums[i][3] > 0; k++) centres[i].value[k] = (float)(sums[i][k] / sums[i][3]);
    return total;
}

static void centre_of_box(point *out, const box *b, const point *points)
{
    double sum[3] = {0}, weight = 0;
    for (size_t i = b->first; i < b->first + b->count; i++) {
        weight += (double)points[i].weight;
        for (int k = 0; k < 3; k++) sum[k] += (double)points[i].weight * (double)points[i].value[k];
    }
    for (int k = 0; k < 3; k++) out->value[k] = (float)(sum[k] / weight);
}

vipo_status vipo_palette_build(vipo_palette *out, const uint8_t (*fixed)[3], int n_fixed,
                               const vipo_histogram *histogram, double *rms, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    *rms = 0;
    if (n_fixed < 0 || n_fixed > MAX_FIXED)
        return vipo_fail(error, VIPO_INTERNAL, "%d fixed colours, expected 0..%d", n_fixed, MAX_FIXED);
    point *points = NULL;
    size_t n_points = 0;
    VIPO_TRY(collect_points(histogram, &points, &n_points, error));

    point centres[VIPO_PALETTE_MAX];
    box boxes[VIPO_PALETTE_MAX];
    for (int i = 0; i < n_fixed; i++)
        for (int k = 0; k < 3; k++) centres[i].value[k] = (float)fixed[i][k];
    const int n_boxes = n_points > 0 ? cut_boxes(boxes, VIPO_PALETTE_MAX - n_fixed, points, n_points) : 0;
    for (int i = 0; i < n_boxes; i++) centre_of_box(&centres[n_fixed + i], &boxes[i], points);

    const int n = n_fixed + n_boxes;
    double weight = 0, total = 0;
    for (size_t i = 0; i < n_points; i++) weight += (double)points[i].weight;
    for (int round = 0; round <= KMEANS_ROUNDS; round++)
        total = refine(centres, (size_t)n_fixed, (size_t)n, points, n_points);
    free(points);
    if (weight > 0) *rms = sqrt(total / (3 * weight));
    out->count = n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) out->colours[i][k] = (uint8_t)(centres[i].value[k] + 0.5F);
    return VIPO_OK;
}

int vipo_palette_nearest(const vipo_palette *palette, const uint8_t colour[3])
{
    int best = 0, least = INT32_MAX;
    for (int i = 0; i < palette->count; i++) {
        const int r = palette->colours[i][0] - colour[0], g = palette->colours[i][1] - colour[1],
                  b = palette->colours[i][2] - colour[2];
        const int distance = r * r + g * g + b * b;
        if (distance >= least) continue;
        least = distance;
        best = i;
    }
    return best;
}
