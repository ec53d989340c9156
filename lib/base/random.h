/* Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). The i-th number of a stream is a pure function of (seed,
 * purpose, index, i), so threads can process rows in any order with the same result.
 */
#ifndef NOKEN_RANDOM_H
#define NOKEN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What random numbers are used for. Consumers with different purposes share no numbers, although
 * all of them are given the same seed by a user. A new consumer gets a new purpose at the end: the
 * value is part of the generator's counter. */
enum nki_random_purpose {
  NKI_RANDOM_TEST,        /* data of tests and benchmarks */
  NKI_RANDOM_SPLIT,       /* region: which tokens are fitted, ranked and calibrated */
  NKI_RANDOM_RAY = 3,     /* nk_sample: origin and direction of a ray; 2 is not in use */
  NKI_RANDOM_INSIDE,      /* nk_sample_inside: a resampled control */
  NKI_RANDOM_MATCH = 6,   /* nk_sample_match: where a noken starts; 5 is not in use */
  NKI_RANDOM_KNN_ROWS,    /* glitch indicators: the rows searched for neighbours */
  NKI_RANDOM_REFERENCE,   /* probe: the reference tokens of a slot */
  NKI_RANDOM_GENERATION,  /* sampled tokens of a generated text */
  NKI_RANDOM_MATCHED,     /* nk_ordinary_tokens: those like a list of tokens */
  NKI_RANDOM_SET_RAY,     /* nk_sample: a ray from a row of a set */
  NKI_RANDOM_GAUSSIAN,    /* nk_sample: a draw from a region's normal distribution */
  NKI_RANDOM_SHUFFLE,     /* nk_model_write: the order of a tensor's entries */
  NKI_RANDOM_SET_TEST,    /* nk_region_test: tokens to compare with, permutations */
  NKI_RANDOM_TUNE_SPLIT,  /* nk_tune: what is held out */
  NKI_RANDOM_TUNE_STEP,   /* nk_tune: the batch of a step */
  NKI_RANDOM_SEARCH,      /* nk_search: where restarts from a row begin */
  NKI_RANDOM_TOP,         /* nk_top_directions: where the iteration starts */
  NKI_RANDOM_TUNE_SEARCH, /* nk_tune: the prompts of a search */
  NKI_RANDOM_KNN_ORDER,   /* nk_knn_search: in which it takes the rows to search in */
  NKI_N_RANDOM_PURPOSES
};

/* One position in one stream. It has no other state and can be copied. */
struct nki_random {
  uint64_t seed;
  uint64_t stream;   /* purpose << 56 | index */
  uint64_t position; /* in 32-bit words */
};

/* The start of stream `index` (below 2^56; a row's number, for example) of a purpose under a seed.
 * Streams do not overlap. */
struct nki_random nki_random_stream(uint64_t seed, enum nki_random_purpose purpose, uint64_t index);

uint32_t nki_random_u32(struct nki_random *random);
uint64_t nki_random_u64(struct nki_random *random);
/* Uniform on [0, 1), 53 bits. */
double nki_random_uniform(struct nki_random *random);
/* Uniform integer on [0, n), without bias; n > 0. */
uint64_t nki_random_below(struct nki_random *random, uint64_t n);
/* Standard normal, by Box and Muller (1958) in double; always takes four words. */
double nki_random_normal(struct nki_random *random);
/* out [n] = the next n of them. */
void nki_random_normals(struct nki_random *random, size_t n, double *out);

/* order[0..n) = a random permutation of 0..n-1 (Fisher and Yates). */
void nki_random_permutation(struct nki_random *random, size_t n, size_t *order);

/* The generator itself: out = Philox4x32-10(counter, key). */
void nki_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#ifdef __cplusplus
}
#endif
#endif
