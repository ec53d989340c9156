/* Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). The i-th number of stream s under a seed is a pure
 * function of (seed, s, i), so threads can take any rows in any order and the result is the same.
 */
#ifndef NOKEN_RANDOM_H
#define NOKEN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One place in one stream. Copy it freely: it has no other state. */
struct nk_random {
  uint64_t seed;
  uint64_t stream;
  uint64_t position; /* in 32-bit words */
};

/* The start of stream `stream` (a row's number, say) under `seed`. Streams do not overlap. */
struct nk_random nk_random_stream(uint64_t seed, uint64_t stream);

uint32_t nk_random_u32(struct nk_random *random);
uint64_t nk_random_u64(struct nk_random *random);
/* Uniform on [0, 1), 53 bits. */
double nk_random_uniform(struct nk_random *random);
/* Uniform integer on [0, n), without bias; n > 0. */
uint64_t nk_random_below(struct nk_random *random, uint64_t n);
/* Standard normal, by Box and Muller (1958) in double; always takes four words. */
double nk_random_normal(struct nk_random *random);

/* order[0..n) = a random permutation of 0..n-1 (Fisher and Yates). */
void nk_random_permutation(struct nk_random *random, size_t n, size_t *order);

/* The generator itself: out = Philox4x32-10(counter, key). */
void nk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#ifdef __cplusplus
}
#endif
#endif
