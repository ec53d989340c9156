/* What is made of conformal p-values where a guarantee beyond one new object is asked for. */
#ifndef GEOMETRY_GUARANTEES_H
#define GEOMETRY_GUARANTEES_H

#include <stddef.h>

/* The least share that a guarantee may be allowed to fail in: sums below it are not exact. */
#define NKI_LEAST_DELTA 1e-9

/* q_values [n]: the smallest level at which the procedure of Benjamini and Hochberg (1995) reports
 * a row, from p_values [n]. NaN where that is NaN, which is not counted. Returns 0 or NK_EMEMORY.
 */
int nki_q_values(const double *p_values, size_t n, double *q_values);

/* The least i, from 1, with p_value <= i / (m + 1), where rounding does not count. */
size_t nki_cut(double p_value, size_t m);

/* log i! for i = 0 to n. NULL without memory. */
double *nki_log_factorials(size_t n);

/* The largest level in (0, delta], to a relative 1e-3, of bounds that each fail with at most this
 * probability, at which the probability `exceeded` that one of them fails is at most delta; 0 where
 * none was found. The search begins at a guess in (0, delta]. */
double nki_local_level(double (*exceeded)(void *problem, double level), void *problem, double guess,
                       double delta);
/* A guess for n bounds of successive order statistics, usually within a third. */
double nki_guess_level(size_t n, double delta);

/* Bounds of the order statistics of n uniform numbers, U_(1) <= b_1 to U_(m) <= b_m for m =
 * (n + 1) / 2, all of which hold with a probability of at least 1 - delta: bounds [m], to be freed.
 * NULL without memory. */
double *nki_uniform_bounds(size_t n, double delta);
size_t nki_n_uniform_bounds(size_t n);
/* Bounds of the number of ordinary objects among n new ones with the least p-values. They depend on
 * the number of calibrating objects m, n and delta only. */
struct nki_discoveries;

struct nki_discoveries *nki_discoveries_new(size_t m, size_t n, double delta);
void nki_discoveries_free(struct nki_discoveries *discoveries);
/* bounds [n]: for each row the largest share of ordinary ones among those whose p-value is at most
 * its own. p_values [n] by m calibrating objects, none NaN. NK_OK, NK_EMEMORY, NK_EINTERRUPTED. */
int nki_discoveries_bound(struct nki_discoveries *discoveries, const double *p_values,
                          double *bounds);

#endif
