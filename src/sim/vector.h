/* Points and distances. */
#ifndef VIPO_SIM_VECTOR_H
#define VIPO_SIM_VECTOR_H

#include <math.h>

static inline double vipo_distance_n(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

static inline double vipo_distance(const double a[3], const double b[3])
{
    return vipo_distance_n(a, b, 3);
}

static inline double vipo_distance_xy(const double *a, const double *b)
{
    return vipo_distance_n(a, b, 2);
}

static inline void vipo_add3(const double a[3], const double b[3], double out[3])
{
    for (int i = 0; i < 3; i++) out[i] = a[i] + b[i];
}

static inline double vipo_clip(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

#endif
