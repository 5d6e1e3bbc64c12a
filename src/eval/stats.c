/* Statistics of success rates. */
#include <math.h>

#include "vipo/eval.h"

/* The standard normal's 97.5 % point. */
static const double z = 1.959963984540054;

/* E. B. Wilson 1927: the rates p for which (k/n - p)^2 <= z^2 p (1 - p) / n. */
void vipo_wilson_interval(int k, int n, double *low, double *high)
{
    *low = 0;
    *high = 1;
    if (n < 1) return;
    const double rate = (double)k / n, scale = 1 + z * z / n;
    const double middle = (rate + z * z / (2 * n)) / scale;
    const double half = z / scale * sqrt(rate * (1 - rate) / n + z * z / (4.0 * n * n));
    if (k > 0) *low = fmax(middle - half, 0); /* exactly 0 and 1 at the ends */
    if (k < n) *high = fmin(middle + half, 1);
}

/* Q. McNemar 1947, with the binomial distribution in place of its approximation. */
double vipo_mcnemar(int b, int c)
{
    const int n = b + c, fewer = b < c ? b : c;
    double sum = 0;
    if (n < 1) return 1;
    for (int i = 0; i <= fewer; i++)
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) - n * log(2));
    return fmin(2 * sum, 1);
}
