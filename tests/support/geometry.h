/* The recordings of tests/golden/geometry. */
#ifndef VIPO_TESTS_GEOMETRY_H
#define VIPO_TESTS_GEOMETRY_H

#include "support/golden.h"

#include "vipo/action.h"

/* Numbers of a tensor as doubles, whatever their type; free with free(). *count may be NULL. Fails the test if it is not
 * there. */
double *geometry_doubles(const vipo_safetensors *file, const char *name, size_t *count);
/* The same of "frame<k>.<name>". */
double *geometry_frame(const vipo_safetensors *file, int k, const char *name, size_t *count);
bool geometry_has(const vipo_safetensors *file, const char *name);

/* A manipulation or navigation case with its maps at full size. */
typedef struct geometry_case {
    char path[1200];
    vipo_safetensors *file;
    double matrix[12];
    vipo_array depth, flow; /* zeros where the recording has nothing */
    uint8_t *mask;          /* NULL: navigation */
    vipo_motion_draws *draws;
    vipo_motion_request request;
} geometry_case;
void geometry_open(geometry_case *out, const char *name);
void geometry_close(geometry_case *c);

/* Asserts |a - b| <= tolerance for n numbers. */
void geometry_compare(const char *what, const double *a, const double *b, size_t n, double tolerance);

#endif
